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

const (
	suffix     = ".rescue"
	partSuffix = suffix + ".tmp" // ends the name of a file that durable.WriteFile did not finish
)

// ErrNotFound says that there is no rescue file of that name.
var ErrNotFound = errors.New("rescue: no such tail")

// ErrForeign says that a tail parted from another history than the one that is here.
var ErrForeign = errors.New("rescue: tail of another history")

// ErrContents says that entries are not those that lead to the chain of the header.
var ErrContents = errors.New("rescue: entries do not lead to the tail's end")

// Name returns the name of the tail that the divergence d of a region cut, whose history ended at a chain: two tails of
// equal positions have two names.
func Name(region string, d timeline.Divergence, end timeline.Chain) string {
	return fmt.Sprintf("%s-e%d-%d-%d-%v", region, d.Claim.Epoch, d.Fork, d.At, end)
}

// Write saves a tail in dir, durably, under name. The entries come from next, which returns io.EOF after the last one;
// ErrContents if they do not lead from one to the next, and to the chain of h. A file of that name that holds just that
// tail is left alone: entries apply again after a crash. One that is damaged is kept under another name.
func Write(fs durable.FS, dir, name string, h Header, next func() ([]byte, error)) (Counts, error) {
	path := filepath.Join(dir, name+suffix)
	counts, held, err := Verify(fs, dir, name)
	if err == nil && held.same(h) {
		if err := fs.SyncDir(dir); err != nil { // it may be of an attempt that could not do that
			return Counts{}, fmt.Errorf("save tail %s: %w", path, err)
		}
		return counts, nil
	}
	aside := !errors.Is(err, ErrNotFound) && (err != nil || held.Chain != h.Chain)
	if err := durable.MakeDir(fs, dir); err != nil {
		return Counts{}, fmt.Errorf("save tail %s: %w", path, err)
	}
	err = durable.WriteFile(fs, path, func(w io.Writer) error {
		if counts, err = copyEntries(w, h, next); err != nil || !aside {
			return err
		}
		return setAside(fs, dir, name)
	})
	if err != nil {
		return Counts{}, fmt.Errorf("save tail %s: %w", path, err)
	}
	return counts, nil
}

// same reports whether a file with the header h is good for o: it is the same tail, and has no less of it.
func (h Header) same(o Header) bool { return h.Ends(o) && h.Begins() <= o.Begins() }

// Ends reports whether h and o are of the same tail, of which either may have a part.
func (h Header) Ends(o Header) bool {
	return h.Chain == o.Chain && h.Region == o.Region && h.Fork == o.Fork && h.Last == o.Last
}

// setAside gives a file that is in the way a name of its own.
func setAside(fs durable.FS, dir, name string) error {
	for i := 1; ; i++ {
		free := filepath.Join(dir, fmt.Sprintf("%s~%d%s", name, i, suffix))
		if _, err := fs.Stat(free); errors.Is(err, os.ErrNotExist) {
			return fs.Rename(filepath.Join(dir, name+suffix), free)
		} else if err != nil {
			return err
		}
	}
}

// Verify reads a file, and checks that its entries lead to its chain. Errors: as Scan, and ErrContents.
func Verify(fs durable.FS, dir, name string) (Counts, Header, error) {
	var l links
	counts, h, err := Scan(fs, dir, name, func(payload []byte) error { return l.add(payload) })
	if err == nil {
		err = l.end(h)
	}
	return counts, h, err
}

// links follows the chain through entries.
type links struct {
	chain  timeline.Chain
	count  int
	folder *timeline.Folder
}

func (l *links) add(payload []byte) error {
	h, ok := timeline.ReadHeader(payload)
	if !ok || l.count > 0 && h.Previous != l.chain {
		return fmt.Errorf("%w: epoch %d at %d follows chain %v, not %v", ErrContents, h.Epoch, h.First, h.Previous,
			l.chain)
	}
	if l.folder == nil {
		l.folder = timeline.NewFolder()
	}
	l.count++
	if h.Kind == timeline.KindReign {
		r, err := timeline.DecodeReign(payload)
		l.chain = l.folder.Reign(h.Previous, r)
		return err
	}
	var f timeline.Frame
	err := timeline.DecodeFrame(payload, &f)
	l.chain = l.folder.Frame(&f)
	return err
}

func (l *links) end(h Header) error {
	if l.count > 0 && l.chain != h.Chain {
		return fmt.Errorf("%w: chain %v at %d, not %v", ErrContents, l.chain, h.Last, h.Chain)
	}
	return nil
}

func copyEntries(w io.Writer, h Header, next func() ([]byte, error)) (Counts, error) {
	e, err := NewEncoder(w, h)
	if err != nil {
		return Counts{}, err
	}
	var l links
	for {
		p, err := next()
		if err == io.EOF {
			if err := l.end(h); err != nil {
				return Counts{}, err
			}
			return e.Close()
		}
		if err == nil {
			err = l.add(p)
		}
		if err == nil {
			err = e.Entry(p)
		}
		if err != nil {
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

// Remove deletes the file of a tail, if it is there. The caller syncs dir.
func Remove(fs durable.FS, dir, name string) error {
	return fs.RemoveAll(filepath.Join(dir, name+suffix))
}

// IsPart reports whether a file in the directory of tails is one that was not finished. It is no tail.
func IsPart(file string) bool { return strings.HasSuffix(file, partSuffix) }

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
