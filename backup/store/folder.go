package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
)

// partsDir is the folder of what is being put. Its name is that of no object.
const partsDir = ".parts"

// folder is a store of the files below a folder. The folder itself is not made: a disk that is not mounted is no place.
type folder struct {
	dir      string
	open     func(dir string) (*os.Root, error)
	sync     func(dir string) error
	patience patience
}

func openFolder(text string, stall time.Duration) (Store, error) {
	dir, err := url.PathUnescape(text)
	if err != nil || strings.ContainsAny(text, "?#\x00") {
		return nil, fmt.Errorf("%w: %q: the path of a folder, with %%3F for ?, %%23 for # and %%25 for %%", ErrPlace,
			"file://"+text)
	}
	if !filepath.IsAbs(filepath.FromSlash(dir)) {
		return nil, fmt.Errorf("%w: %q: file:// needs the whole path of a folder, from the root: file:///dir", ErrPlace,
			"file://"+text)
	}
	return &folder{
		dir: filepath.Clean(filepath.FromSlash(dir)), open: os.OpenRoot, sync: durable.OS.SyncDir,
		patience: patience{stall: stall},
	}, nil
}

func (d *folder) String() string {
	escape := strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23")
	return "file://" + escape.Replace(filepath.ToSlash(d.dir))
}

// in calls f with the folder, out of which no name and no link leads, and says what its error is. Of an error that is
// ErrStalled nothing that f wrote may be read.
func (d *folder) in(doing, name string, f func(*os.Root, *turn) error) error {
	err := d.patience.spend(func(t *turn) error {
		root, err := d.open(d.dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: make the folder, or mount what it is on: %w", ErrNoPlace, err)
		case err != nil:
			return err
		}
		return errors.Join(f(root, t), root.Close())
	})
	if err == nil {
		return nil
	}
	switch {
	case durable.Full(err):
		err = fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return fmt.Errorf("%s %s in %s: %w", doing, name, d, err)
}

func (d *folder) Put(ctx context.Context, name string, r io.Reader) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return d.in("put", name, func(root *os.Root, t *turn) error {
		if err := cmp.Or(d.makeDir(root, partsDir), t.moved()); err != nil {
			return err
		}
		d.sweep(root, t)
		if err := t.moved(); err != nil {
			return err
		}
		p, err := d.newPart(root)
		if err != nil {
			return err
		}
		err = p.write(t, whileLive{ctx, elsewhere{t, r}})
		if err == nil {
			err = d.makeDir(root, path.Dir(name))
		}
		if err == nil {
			err = t.moved() // before it takes the name: who put it may have been told that it was not
		}
		if err == nil {
			err = root.Rename(p.name, name)
		}
		if err != nil {
			_ = root.Remove(p.name) // if it cannot be, the next Put sweeps it
		}
		if err := errors.Join(err, p.lock.Close()); err != nil {
			return err
		}
		return d.settle(t, path.Dir(name))
	})
}

// Settle implements Settler.
func (d *folder) Settle(_ context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return d.in("settle", name, func(root *os.Root, t *turn) error {
		file, err := regular(root, t, name)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil { // somebody may have copied it here
			return err
		}
		if err := t.moved(); err != nil {
			return err
		}
		return d.settle(t, path.Dir(name))
	})
}

// settle makes durable what has its name in dir, and the names of dir and of those above it: whoever made one of them
// may not have come to sync it, or could not.
func (d *folder) settle(t *turn, dir string) error {
	err := d.sync(d.path(dir))
	for ; err == nil && dir != "."; dir = path.Dir(dir) {
		if err = t.moved(); err != nil {
			break
		}
		// Who may write into a folder may be forbidden to read the one above: then somebody else has made it, since
		// makeDir leaves none that it cannot sync.
		if err = d.sync(d.path(path.Dir(dir))); errors.Is(err, fs.ErrPermission) {
			err = nil
		}
	}
	return err
}

func (d *folder) path(name string) string { return filepath.Join(d.dir, filepath.FromSlash(name)) }

// part is what is being put. Whoever holds its lock lives: the end of a process frees it.
type part struct {
	name string
	lock io.Closer
	file *os.File
}

// newPart makes a part, and locks it. One that sweeps may come between the two, and take it for one of the dead: then
// another is made.
func (d *folder) newPart(root *os.Root) (p part, err error) {
	for range 10 {
		p.name = partsDir + "/" + rand.Text()
		if p.lock, err = durable.OS.Lock(d.path(p.name)); err != nil {
			continue
		}
		if p.file, err = root.OpenFile(p.name, os.O_WRONLY, 0o600); err == nil {
			return p, nil
		}
		_ = p.lock.Close()
	}
	return part{}, err
}

// write writes what r has, durably, a piece at a time.
func (p part) write(t *turn, r io.Reader) (err error) {
	for err == nil {
		if _, err = io.CopyN(p.file, r, syncBytes); err == nil || errors.Is(err, io.EOF) {
			err = cmp.Or(p.file.Sync(), t.moved(), err)
		}
	}
	if err == io.EOF { // as CopyN says that r has no more
		err = nil
	}
	return errors.Join(err, p.file.Close())
}

// sweep removes the parts of the dead. What cannot be removed is left to the next.
func (d *folder) sweep(root *os.Root, t *turn) {
	entries, _ := fs.ReadDir(root.FS(), partsDir)
	for _, e := range entries {
		if t.moved() != nil {
			return
		}
		part := partsDir + "/" + e.Name()
		if lock, err := durable.OS.Lock(d.path(part)); err == nil {
			_ = root.Remove(part)
			_ = lock.Close()
		}
	}
}

// makeDir makes a folder and those above it, durably. One whose name cannot be synced does not stay: the next attempt
// would find it there.
func (d *folder) makeDir(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if info, err := root.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := d.makeDir(root, path.Dir(dir)); err != nil {
		return err
	}
	if err := root.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	if err := d.sync(d.path(path.Dir(dir))); err != nil {
		_ = root.Remove(dir) // if it cannot be, somebody else has put something there
		return err
	}
	return nil
}

func (d *folder) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	var file *os.File
	err := d.in("get", name, func(root *os.Root, t *turn) error {
		var err error
		file, err = regular(root, t, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	reading := &reading{folder: d, name: name, file: file}
	return struct {
		io.Reader
		io.Closer
	}{whileLive{ctx, reading}, reading}, nil
}

// regular opens the file that an object is. The error is ErrNotFound if there is none.
func regular(root *os.Root, t *turn, name string) (file *os.File, err error) {
	info, err := root.Stat(name) // before: to open a pipe waits for who writes to it
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no file", ErrNotFound)
	}
	if err == nil {
		file, err = opened(root, t, name)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return file, err
}

// opened opens a file for who still waits for it.
func opened(root *os.Root, t *turn, name string) (*os.File, error) {
	file, err := root.Open(name)
	if err == nil && t.moved() != nil {
		return nil, errors.Join(ErrStalled, file.Close())
	}
	return file, err
}

func (d *folder) List(ctx context.Context, prefix string) ([]Object, error) {
	return list(ctx, d, prefix)
}

func (d *folder) Walk(ctx context.Context, prefix string, visit func(Object) error) error {
	err := d.in("list", fmt.Sprintf("%q", prefix), func(root *os.Root, t *turn) error {
		return walkDir(ctx, root, t, ".", prefix, func(o Object) error {
			if err := t.away(); err != nil {
				return err
			}
			defer t.back()
			if err := visit(o); err != nil {
				return &visited{err}
			}
			return nil
		})
	})
	var stopped *visited
	if errors.As(err, &stopped) {
		return stopped.error
	}
	return err
}

// visited is the error of who was shown an object.
type visited struct{ error }

// pageEntries is how many names of a folder are held at a time.
const pageEntries = 1 << 10

// walkDir visits the objects in a folder and below it.
func walkDir(
	ctx context.Context, root *os.Root, t *turn, dir, prefix string, visit func(Object) error,
) (err error) {
	folder, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "." { // it went as we looked
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	for {
		entries, err := folder.ReadDir(pageEntries)
		if gone := t.moved(); gone != nil {
			return gone
		}
		for _, e := range entries {
			err := ctx.Err()
			if err == nil {
				err = walkEntry(ctx, root, t, path.Join(dir, e.Name()), e, prefix, visit)
			}
			if err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func walkEntry(
	ctx context.Context, root *os.Root, t *turn, name string, e fs.DirEntry, prefix string, visit func(Object) error,
) error {
	switch {
	case CheckName(name) != nil:
		return nil
	case e.IsDir() && leadsTo(name, prefix):
		return walkDir(ctx, root, t, name, prefix, visit)
	case !e.Type().IsRegular() || !strings.HasPrefix(name, prefix):
		return nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) { // it went as we looked
		return nil
	}
	if err != nil {
		return err
	}
	return visit(Object{Name: name, Size: info.Size(), Modified: info.ModTime()})
}

// leadsTo reports whether names with the prefix may lie in dir.
func leadsTo(dir, prefix string) bool {
	return strings.HasPrefix(dir+"/", prefix) || strings.HasPrefix(prefix, dir+"/")
}

func (d *folder) Delete(_ context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	return d.in("delete", name, func(root *os.Root, t *turn) error {
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && info.IsDir() {
			return nil
		}
		if err := cmp.Or(err, t.moved()); err != nil {
			return err
		}
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return d.sync(d.path(path.Dir(name)))
	})
}

// whileLive reads until the context ends.
type whileLive struct {
	ctx context.Context
	r   io.Reader
}

func (w whileLive) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}
