package witness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// The formats of the file that holds a ballot. README.md has the table.
const (
	ballotFile = "ballot"
	nameFile   = "WITNESS" // whose directory it is; written after the first ballot
	lockFile   = "LOCK"
	version    = 1
	// policyVersion is that of a ballot with a charter of timeline.LevelPolicy: who does not know that would drop it.
	policyVersion = 2
	holdVersion   = 3 // likewise of timeline.LevelHold
	countVersion  = 4 // and of timeline.LevelCount
	// givenUpVersion is of a ballot that was given up: versions that do not know that refuse it too.
	givenUpVersion = 5
)

// replace is the way out where a ballot is lost.
const replace = "it must not vote again under this name: start a witness of another, and put that in its place"

// record is what the file holds, as JSON, behind a line with its CRC-32C.
type record struct {
	Version int              `json:"version"`
	Fleet   string           `json:"fleet"`
	Voter   string           `json:"voter"`
	Ballot  *timeline.Ballot `json:"ballot"`
	// Line is left out, and begun anew, by versions that do not know it.
	Line *line `json:"line,omitempty"`
	// GivenUp says why nobody votes by this ballot any more; "": the witness does.
	GivenUp string `json:"givenUp,omitempty"`
}

func save(fs durable.FS, dir string, r record) error {
	switch level := r.Ballot.Charter.Level(); {
	case r.GivenUp != "":
		r.Version = givenUpVersion
	case level >= timeline.LevelCount:
		r.Version = countVersion
	case level >= timeline.LevelHold:
		r.Version = holdVersion
	case level >= timeline.LevelPolicy:
		r.Version = policyVersion
	default:
		r.Version = version
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(fs, filepath.Join(dir, ballotFile), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%08x\n%s\n", checksum.Of(body), body)
		return err
	})
}

// load returns what is in dir, with a ballot; nil if the directory was never used.
func load(fs durable.FS, dir, fleet, voter string) (*record, error) {
	path := filepath.Join(dir, ballotFile)
	r, err := read(fs, dir)
	switch {
	case err != nil || r == nil:
		return nil, err
	case r.Version < version:
		return nil, fmt.Errorf("%w: %s has format %d, and there is none before %d", contract.ErrDamaged, path,
			r.Version, version)
	case r.Version > givenUpVersion:
		return nil, fmt.Errorf("%w: %s has format %d, and this mimir knows %d to %d: run a newer one",
			contract.ErrNewer, path, r.Version, version, givenUpVersion)
	case r.Fleet != fleet || r.Voter != voter:
		return nil, fmt.Errorf("%w: %s is the ballot of %s in fleet %s; this is %s in fleet %s", contract.ErrIdentity,
			path, r.Voter, r.Fleet, voter, fleet)
	}
	return r, nil
}

// read returns what the file in dir holds; nil if the directory was never used.
func read(fs durable.FS, dir string) (*record, error) {
	path := filepath.Join(dir, ballotFile)
	content, err := durable.ReadFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		switch _, err := fs.Stat(filepath.Join(dir, nameFile)); {
		case err == nil:
			return nil, fmt.Errorf("%w: %s is gone, and with it the votes of the witness; %s", contract.ErrDiskLost,
				path, replace)
		case !errors.Is(err, os.ErrNotExist): // it may be there
			return nil, fmt.Errorf("look whether a witness kept its ballot in %s: %w", dir, err)
		}
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the ballot of the witness: %w", err)
	}
	sum, body, _ := bytes.Cut(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
	var r record
	if string(sum) != fmt.Sprintf("%08x", checksum.Of(body)) || json.Unmarshal(body, &r) != nil || r.Ballot == nil ||
		r.Line != nil && len(r.Line.Lives) == 0 {
		return nil, fmt.Errorf("%w: %s is not what was written, and the votes of the witness are lost; %s",
			contract.ErrDamaged, path, replace)
	}
	return &r, nil
}

// Used reports whether a witness keeps, or kept, its ballot in dir.
func Used(fs durable.FS, dir string) bool {
	_, ballot := fs.Stat(filepath.Join(dir, ballotFile))
	_, name := fs.Stat(filepath.Join(dir, nameFile))
	return !errors.Is(ballot, os.ErrNotExist) || !errors.Is(name, os.ErrNotExist)
}

// FleetOf returns the fleet whose ballot is in dir, empty if the directory was never used. Errors: ErrDiskLost and
// ErrDamaged if that cannot be known any more.
func FleetOf(fs durable.FS, dir string) (string, error) {
	r, err := read(fs, dir)
	if err != nil || r == nil {
		return "", err
	}
	return r.Fleet, nil
}

// mark says whose the directory is, after its ballot was written, unless that is said already.
func mark(fs durable.FS, dir, voter string) error {
	if _, err := fs.Stat(filepath.Join(dir, nameFile)); err == nil {
		return nil
	}
	return durable.WriteFile(fs, filepath.Join(dir, nameFile), func(w io.Writer) error {
		_, err := fmt.Fprintln(w, voter)
		return err
	})
}
