package recall

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// Formats of the file that holds a Disk. README.md has the table.
const (
	diskVersion   = 1
	givenUpFormat = 2 // of a disk that was given up: versions that do not know that refuse it too
)

// Disk is the identity of a data directory, and how often a node started on it. The zero Disk is of a node of an
// earlier version.
type Disk struct {
	ID     string // drawn when the directory was first used
	Starts uint64 // this one included
	Boot   string // drawn at each start
}

// Own is the disk of this node, with the key of its seals: only who has the directory, or a copy of it, can say what it
// said. The zero Own, and one of a directory that had no key before this start, knows no seal.
type Own struct {
	Disk
	key   string // never told
	drawn bool   // in this start, for a directory of a version without
}

// Seals reports whether what this disk said at earlier starts is sealed.
func (o Own) Seals() bool { return o.key != "" && !o.drawn }

// Seal returns the seal of saying now that the disk holds the log up to index; "" if it has no key.
func (o Own) Seal(index uint64) string {
	if o.key == "" {
		return ""
	}
	return o.seal(Word{Starts: o.Starts, Boot: o.Boot, Index: index})
}

// said reports whether this disk said w, at an earlier start.
func (o Own) said(w Word) bool {
	return o.key != "" && w.Boot != o.Boot && hmac.Equal([]byte(w.Seal), []byte(o.seal(w)))
}

func (o Own) seal(w Word) string {
	h := hmac.New(sha256.New, []byte(o.key))
	fmt.Fprintf(h, "%q %d %q %d", o.ID, w.Starts, w.Boot, w.Index) // never fails
	return hex.EncodeToString(h.Sum(nil))
}

// diskFile is what the file holds. It is JSON, so that a version after this one can add to it.
type diskFile struct {
	Version int    `json:"version"`
	Disk    string `json:"disk"`
	Starts  uint64 `json:"starts"`
	// Key is that of the seals. A version that does not know it drops it, and the next start draws another.
	Key string `json:"key,omitempty"`
	// Log is which log the directory has; "" if that was not noted yet. A version that does not know it drops it.
	Log string `json:"log,omitempty"`
	// LogStart is the last start that is noted in that log too; 0 if none is. A version that does not know it drops it.
	LogStart uint64 `json:"logStart,omitempty"`
	// GivenUp says why no node starts on this disk any more; "": one does.
	GivenUp string `json:"givenUp,omitempty"`
}

// Start counts a start in the file at path, durably, and returns the disk as it is with it. A directory without the
// file, of an earlier version or new, gets one. Its error is ErrDiskLost if the disk was given up.
func Start(fs durable.FS, path string) (Own, error) {
	f, err := read(fs, path)
	if err != nil {
		return Own{}, err
	}
	if f.GivenUp != "" {
		return Own{}, &givenUpError{path: path, why: f.GivenUp}
	}
	drawn := f.Key == "" && f.Starts > 0
	if f.Key == "" {
		f.Key = draw() + draw()
	}
	f.Starts++
	if err := f.write(fs, path); err != nil {
		return Own{}, fmt.Errorf("count this start: %w", err)
	}
	return Own{Disk{ID: f.Disk, Starts: f.Starts, Boot: draw()}, f.Key, drawn}, nil
}

// givenUpError says that a disk was given up. It is an ErrDiskLost.
type givenUpError struct{ path, why string }

func (e *givenUpError) Error() string {
	return fmt.Sprintf("replication: this data directory was given up, and no node starts on it again: %s. Keep it if "+
		"it may hold what others have not; remove the member, and add it again under a new name with an empty data "+
		"directory. Only if every newer disk of the region is gone for good, so that this one has to do: remove the "+
		"file %s", e.why, e.path)
}

func (e *givenUpError) Unwrap() error { return contract.ErrDiskLost }

// GiveUp notes in the file at path, durably, why no node may start on this disk again.
func GiveUp(fs durable.FS, path string, why error) error {
	f, err := read(fs, path)
	if err != nil {
		return err
	}
	f.GivenUp = strings.TrimPrefix(why.Error(), contract.ErrDiskLost.Error()+": ")
	if err := f.write(fs, path); err != nil {
		return fmt.Errorf("note that this disk is given up: %w", err)
	}
	return nil
}

// UsedLog is a log by what it says of itself.
type UsedLog struct {
	ID    string
	Start uint64 // of the directory, the last at which it was used; 0 if that is not noted there
	Known bool   // that this is so
}

// CheckLog reports whether a log that was used is the one that is noted in the file at path, if any is, and as new:
// another one that was put there, or an older copy, is ErrDamaged.
func CheckLog(fs durable.FS, path string, l UsedLog) error {
	f, err := read(fs, path)
	switch {
	case err != nil:
		return err
	case f.Log != "" && f.Log != l.ID:
		return fmt.Errorf("%w: the log, directory wal, is another one, %.8s, than that with which this directory was "+
			"used, %.8s: put that back in its place", contract.ErrDamaged, l.ID, f.Log)
	case l.Known && l.Start < f.LogStart:
		return fmt.Errorf("%w: the log, directory wal, is an older copy, or its file start is gone: that says start "+
			"%d of this data directory, and %s says that the log was used at start %d; what this node acknowledged "+
			"since, and for whom it voted, may not be in it. Put the newer one back in its place; if it is gone, "+
			"remove the member, and add it again under a new name with an empty data directory; only if nobody else "+
			"has what it held, and the rest is to be given up, take %s away",
			contract.ErrDamaged, l.Start, path, f.LogStart, path)
	default:
		return nil
	}
}

// NoteLog notes in the file at path, durably, which log the directory has, and at which start, after the log notes it.
func NoteLog(fs durable.FS, path, log string, start uint64) error {
	f, err := read(fs, path)
	if err != nil || f.Log == log && f.LogStart == start {
		return err
	}
	f.Log, f.LogStart = log, start
	if err := f.write(fs, path); err != nil {
		return fmt.Errorf("note which log this disk has: %w", err)
	}
	return nil
}

func draw() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func (f *diskFile) write(fs durable.FS, path string) error {
	f.Version = diskVersion
	if f.GivenUp != "" {
		f.Version = givenUpFormat
	}
	encoded, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return durable.WriteFile(fs, path, func(w io.Writer) error {
		_, err := w.Write(append(checksum.Seal(encoded), '\n'))
		return err
	})
}

func read(fs durable.FS, path string) (*diskFile, error) {
	encoded, err := durable.ReadFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return &diskFile{Disk: draw()}, nil
	} else if err != nil {
		return nil, fmt.Errorf("read how often this disk was started: %w", err)
	}
	whole, _ := checksum.Unbroken(encoded) // that of a former version has no checksum, and gets one with this start
	f := new(diskFile)
	err = json.Unmarshal(encoded, f)
	switch known := f.Version == diskVersion || f.Version == givenUpFormat; {
	case err == nil && whole && f.Version > 0 && !known:
		return nil, fmt.Errorf("%w: %s has format %d, this version knows %d: start the version that wrote it",
			contract.ErrNewer, path, f.Version, givenUpFormat)
	case !whole || err != nil || f.Disk == "" || f.Starts == 0:
		return nil, fmt.Errorf("%w: %s is damaged; remove the member and add it again under a new name",
			contract.ErrDiskLost, path)
	}
	return f, nil
}
