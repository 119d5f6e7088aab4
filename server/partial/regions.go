package partial

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/etcdapi/reread"
)

// MinSecretBytes is how long a secret is at least.
const MinSecretBytes = 32

// rereadEvery bounds how often the file is looked at.
const rereadEvery = 5 * time.Second

// Region is a partial region as a node of a full one knows it: who may follow what.
type Region struct {
	Name     string
	Prefixes Prefixes
	secret   [sha256.Size]byte
}

// Regions are the partial regions of a file, which is read again when it changes. It is safe for concurrent use.
type Regions struct {
	file   string
	logger *slog.Logger

	turn reread.Turn // who looks at the file

	mu      sync.Mutex
	known   []Region
	sum     [sha256.Size]byte // of the file that was read
	problem string            // why the file of now does not hold, as it was told last
}

// OpenRegions reads a file of partial regions, one a line: its name, a secret of at least MinSecretBytes characters,
// and the prefixes, with spaces between. Lines that begin with # are left out. No file is no partial region.
func OpenRegions(file string, logger *slog.Logger) (*Regions, error) {
	r := &Regions{file: file, logger: logger}
	if file == "" {
		return r, nil
	}
	var err error
	if r.known, r.sum, err = readRegions(file); err != nil {
		return nil, err
	}
	r.turn.Hung = r.hung
	r.turn.Looked(time.Now())
	return r, nil
}

// hung says that the file is not read. Once it is, look says how it is.
func (r *Regions) hung() {
	r.logger.Error("partial regions not read again, their disk may hang: those of before hold", "file", r.file)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem = r.file + " is not read, its disk may hang"
}

// Known returns them as the file has them. A file that cannot be read leaves those of before.
func (r *Regions) Known() []Region {
	if r.file != "" {
		r.turn.Look(time.Now(), rereadEvery, r.look)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// look takes what the file has, if that is something else. What its time and its size are says nothing: a secret is
// exchanged for one of the same length.
func (r *Regions) look() {
	known, sum, err := readRegions(r.file)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && sum == r.sum:
		r.problem = ""
	case err == nil:
		r.known, r.sum, r.problem = known, sum, ""
		r.logger.Info("partial regions read again", "file", r.file, "regions", len(r.known))
	case err.Error() != r.problem:
		r.problem = err.Error()
		r.logger.Error("partial regions not read again: those of before hold", "err", err)
	}
}

// Named returns the partial region of a name.
func (r *Regions) Named(name string) (Region, bool) {
	known := r.Known()
	if i := slices.IndexFunc(known, func(one Region) bool { return one.Name == name }); i >= 0 {
		return known[i], true
	}
	return Region{}, false
}

// Errors of who may not follow.
var (
	errStranger = errors.New("this node knows no partial region of that name with that secret")
	errOther    = errors.New("its prefixes are others")
	errFleet    = errors.New("it follows another fleet")
)

// admit returns the region that somebody says he is of, if he shows its secret and follows what it may.
func (r *Regions) admit(q *ask) (Region, error) {
	one, ok := r.Named(q.Region)
	sum := sha256.Sum256([]byte(q.Secret))
	if same := subtle.ConstantTimeCompare(sum[:], one.secret[:]) == 1; !ok || !same {
		return one, errStranger
	}
	if !one.Prefixes.Equal(q.Prefixes) {
		return one, fmt.Errorf("%w: region %s is to follow %s, by the file of this node, and the one that asks "+
			"follows %s: it needs an empty directory to follow others", errOther, one.Name, one.Prefixes, q.Prefixes)
	}
	return one, nil
}

// Problem says why the file of now does not hold, and those of before do; "" if it does.
func (r *Regions) Problem() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problem
}

// readRegions returns what a file has, and the sum of it.
func readRegions(file string) (known []Region, sum [sha256.Size]byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, sum, err
	}
	if known, err = parseRegions(text); err != nil {
		return nil, sum, fmt.Errorf("%s: %w", file, err)
	}
	return known, sha256.Sum256(text), nil
}

func parseRegions(text []byte) (list []Region, err error) {
	number := 0
	for line := range bytes.Lines(text) {
		number++
		fields, err := words(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %d: write a name, a secret, and the prefixes", number)
		}
		one := Region{Name: fields[0], secret: sha256.Sum256([]byte(fields[1]))}
		if err := CheckName(one.Name); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if len(fields[1]) < MinSecretBytes {
			return nil, fmt.Errorf("line %d: the secret of %s has %d characters, at least %d are needed", number,
				one.Name, len(fields[1]), MinSecretBytes)
		}
		if one.Prefixes, err = ParsePrefixes(fields[2:]); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", number, one.Name, err)
		}
		if slices.ContainsFunc(list, func(other Region) bool { return other.Name == one.Name }) {
			return nil, fmt.Errorf("line %d: %s is there twice", number, one.Name)
		}
		list = append(list, one)
	}
	return list, nil
}

// words splits a line at spaces that are not within quotes. A line that begins with # has none.
func words(line string) (list []string, err error) {
	const space = " \t\r\n"
	for at := 0; at < len(line); {
		switch {
		case isIn(space, line[at]):
			at++
			continue
		case line[at] == '#' && len(list) == 0:
			return nil, nil
		}
		end, quote := at, line[at] == '"'
		for end++; end < len(line) && (quote || !isIn(space, line[end])); end++ {
			if quote && line[end] == '\\' {
				end++
			} else if quote && line[end] == '"' {
				quote = false
			}
		}
		if quote || end > len(line) {
			return nil, errors.New("a quote is not closed")
		}
		list, at = append(list, line[at:end]), end
	}
	return list, nil
}

func isIn(set string, c byte) bool { return bytes.IndexByte([]byte(set), c) >= 0 }

// maxName is how long a name is at most.
const maxName = 63

// CheckName says what is wrong with the name of a partial region, or of a node of one; nil if it can be one.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("name %q: 1 to %d characters are needed", name, maxName)
	}
	for _, c := range name {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !plain && c != '-' && c != '_' && c != '.' {
			return fmt.Errorf("name %q: letters, digits, -, _ and . can be in it", name)
		}
	}
	return nil
}
