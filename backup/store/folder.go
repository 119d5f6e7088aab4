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

	"github.com/mimir-kv/mimir/replication/durable"
)

// partsDir is the folder of what is being put. Its name is that of no object.
const partsDir = ".parts"

// folder is a store of the files below a folder. The folder itself is not made: a disk that is not mounted is no place.
type folder struct{ dir string }

func openFolder(text string) (Store, error) {
	dir, err := url.PathUnescape(text)
	if err != nil || strings.ContainsAny(text, "?#\x00") {
		return nil, fmt.Errorf("%w: %q: the path of a folder, with %%3F for ?, %%23 for # and %%25 for %%", ErrPlace,
			"file://"+text)
	}
	if !filepath.IsAbs(filepath.FromSlash(dir)) {
		return nil, fmt.Errorf("%w: %q: file:// needs the whole path of a folder, from the root: file:///dir", ErrPlace,
			"file://"+text)
	}
	return &folder{filepath.Clean(filepath.FromSlash(dir))}, nil
}

func (d *folder) String() string {
	escape := strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23")
	return "file://" + escape.Replace(filepath.ToSlash(d.dir))
}

// in calls f with the folder, out of which no name and no link leads, and says what its error is.
func (d *folder) in(doing, name string, f func(*os.Root) error) error {
	root, err := os.OpenRoot(d.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w: make the folder, or mount what it is on: %w", ErrNoPlace, err)
	case err == nil:
		err = errors.Join(f(root), root.Close())
	}
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
	return d.in("put", name, func(root *os.Root) error {
		if err := d.makeDir(root, partsDir); err != nil {
			return err
		}
		d.sweep(root)
		p, err := d.newPart(root)
		if err != nil {
			return err
		}
		err = p.write(ctx, r)
		if err == nil {
			err = d.makeDir(root, path.Dir(name))
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
		return durable.OS.SyncDir(d.path(path.Dir(name)))
	})
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

func (p part) write(ctx context.Context, r io.Reader) error {
	_, err := io.Copy(p.file, whileLive{ctx, r})
	return errors.Join(err, p.file.Sync(), p.file.Close())
}

// sweep removes the parts of the dead. What cannot be removed is left to the next.
func (d *folder) sweep(root *os.Root) {
	entries, _ := fs.ReadDir(root.FS(), partsDir)
	for _, e := range entries {
		part := partsDir + "/" + e.Name()
		if lock, err := durable.OS.Lock(d.path(part)); err == nil {
			_ = root.Remove(part)
			_ = lock.Close()
		}
	}
}

// makeDir makes a folder and those above it, durably.
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
	if err := root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.OS.SyncDir(d.path(path.Dir(dir)))
}

func (d *folder) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	var file *os.File
	err := d.in("get", name, func(root *os.Root) error {
		info, err := root.Stat(name) // before: to open a pipe waits for who writes to it
		if err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%w: it is no file", ErrNotFound)
		}
		if err == nil {
			file, err = root.Open(name)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &opened{whileLive{ctx, file}, file}, nil
}

// opened is a file that is read as long as its context lives.
type opened struct {
	io.Reader
	io.Closer
}

func (d *folder) List(ctx context.Context, prefix string) ([]Object, error) {
	return list(ctx, d, prefix)
}

func (d *folder) Walk(ctx context.Context, prefix string, visit func(Object) error) error {
	var visited error
	err := d.in("list", fmt.Sprintf("%q", prefix), func(root *os.Root) error {
		return walkDir(ctx, root, ".", prefix, func(o Object) error {
			visited = visit(o)
			return visited
		})
	})
	if visited != nil {
		return visited
	}
	return err
}

// pageEntries is how many names of a folder are held at a time.
const pageEntries = 1 << 10

// walkDir visits the objects in a folder and below it.
func walkDir(ctx context.Context, root *os.Root, dir, prefix string, visit func(Object) error) (err error) {
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
		for _, e := range entries {
			if err := cmp.Or(ctx.Err(), walkEntry(ctx, root, path.Join(dir, e.Name()), e, prefix, visit)); err != nil {
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
	ctx context.Context, root *os.Root, name string, e fs.DirEntry, prefix string, visit func(Object) error,
) error {
	switch {
	case CheckName(name) != nil:
		return nil
	case e.IsDir() && leadsTo(name, prefix):
		return walkDir(ctx, root, name, prefix, visit)
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
	return d.in("delete", name, func(root *os.Root) error {
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && info.IsDir() {
			return nil
		}
		if err := cmp.Or(err, root.Remove(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return durable.OS.SyncDir(d.path(path.Dir(name)))
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
