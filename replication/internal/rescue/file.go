package rescue

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const suffix = ".rescue"

// ErrNotFound says that there is no rescue file of that name.
var ErrNotFound = errors.New("rescue: no such tail")

// Name returns the name of the tail that the divergence d of a region cut.
func Name(region string, d timeline.Divergence) string {
	return fmt.Sprintf("%s-e%d-%d-%d", region, d.Claim.Epoch, d.Fork, d.At)
}

// Write saves a tail in dir, durably, under name. The entries come from next, which returns io.EOF after the last one.
// If a complete file of that name is there it is left alone: entries apply again after a crash.
func Write(fs durable.FS, dir, name string, h Header, next func() ([]byte, error)) (Counts, error) {
	path := filepath.Join(dir, name+suffix)
	if c, _, err := Scan(fs, dir, name, nil); err == nil {
		return c, nil
	}
	counts, err := write(fs, dir, path, h, next)
	if err != nil {
		return Counts{}, fmt.Errorf("save tail %s: %w", path, err)
	}
	return counts, nil
}

func write(fs durable.FS, dir, path string, h Header, next func() ([]byte, error)) (counts Counts, err error) {
	if err := durable.MakeDir(fs, dir); err != nil {
		return Counts{}, err
	}
	err = durable.WriteFile(fs, path, func(w io.Writer) error {
		counts, err = copyEntries(w, h, next)
		return err
	})
	return counts, err
}

func copyEntries(w io.Writer, h Header, next func() ([]byte, error)) (Counts, error) {
	e, err := NewEncoder(w, h)
	if err != nil {
		return Counts{}, err
	}
	for {
		p, err := next()
		if err == io.EOF {
			return e.Close()
		}
		if err != nil {
			return Counts{}, err
		}
		if err := e.Entry(p); err != nil {
			return Counts{}, err
		}
	}
}

// Scan reads a whole tail and checks it; visit, if not nil, sees each payload in order. Errors: ErrNotFound,
// ErrDamaged, and what visit returns.
func Scan(fs durable.FS, dir, name string, visit func(payload []byte) error) (Counts, Header, error) {
	if strings.ContainsAny(name, "/\\") {
		return Counts{}, Header{}, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	f, err := fs.Open(filepath.Join(dir, name+suffix))
	if errors.Is(err, os.ErrNotExist) {
		return Counts{}, Header{}, fmt.Errorf("%w: %s", ErrNotFound, name)
	} else if err != nil {
		return Counts{}, Header{}, err
	}
	defer f.Close()
	d, err := NewDecoder(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return Counts{}, Header{}, fmt.Errorf("%s: %w", name, err)
	}
	for {
		p, err := d.Next()
		if err == io.EOF {
			return d.Counts(), d.Header(), nil
		}
		if err != nil {
			return Counts{}, Header{}, fmt.Errorf("%s: %w", name, err)
		}
		if visit != nil {
			if err := visit(p); err != nil {
				return Counts{}, Header{}, err
			}
		}
	}
}

// List returns the names of the tails in dir, in order. A directory that does not exist has none.
func List(fs durable.FS, dir string) ([]string, error) {
	files, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list tails: %w", err)
	}
	var names []string
	for _, f := range files {
		if n, ok := strings.CutSuffix(f, suffix); ok {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}
