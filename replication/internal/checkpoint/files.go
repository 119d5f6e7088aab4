package checkpoint

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Files that this package keeps beside the data.
const (
	manifestName = "CHECKPOINT-MANIFEST"  // of a complete checkpoint
	stagingName  = "CHECKPOINT-STAGING"   // of one that is being received
	scratchName  = "CHECKPOINT-TEMPORARY" // of a manifest that is being written
)

// readBytes is how much of a file is read at a time.
const readBytes = 1 << 20

func reserved(name string) bool {
	switch strings.ToUpper(name) { // some filesystems do not tell case
	case manifestName, stagingName, scratchName:
		return true
	}
	return false
}

// Describe reads and sums every file of dir, which may have one level of directories. The files must not change
// afterwards, until the checkpoint is removed. It ends soon after ctx. through is told of how many bytes were read
// since it was last called; it may be nil.
func Describe(
	ctx context.Context, fs durable.FS, dir string, id [16]byte, meta []byte, through func(bytes int64),
) (*Manifest, error) {
	return describe(ctx, fs, dir, id, meta, through, nil)
}

// describe is Describe, but that it does not read what sums know, which may be nil.
func describe(
	ctx context.Context, fs durable.FS, dir string, id [16]byte, meta []byte, through func(bytes int64), sums *Sums,
) (*Manifest, error) {
	step := func(bytes int64) error {
		if through != nil {
			through(bytes)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	names, err := list(fs, dir)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: describe %s: %w", dir, err)
	}
	if sums != nil {
		if err := sums.Look.whole(dir); err != nil {
			return nil, fmt.Errorf("checkpoint: describe %s: %w", dir, err)
		}
	}
	m := &Manifest{ID: id, Meta: meta, Files: make([]File, 0, len(names))}
	all := make([]summed, 0, len(names))
	buf := make([]byte, readBytes)
	for _, name := range names {
		info, err := fs.Stat(path(dir, name))
		if err != nil {
			return nil, fmt.Errorf("checkpoint: describe %s: %w", dir, err)
		}
		f, known := sums.has(name, info)
		if known {
			err = step(f.Bytes)
		} else {
			f.Name = name
			if f.Bytes, f.Sum, err = sum(fs, path(dir, name), buf, step); err == nil {
				err = sums.look(dir, name)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("checkpoint: describe %s: %w", dir, err)
		}
		m.Files, all = append(m.Files, f), append(all, summed{f, info})
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	sums.keep(all)
	return m, nil
}

// Size returns how many bytes the files of dir have that Describe would go through, as far as they can be seen.
func Size(fs durable.FS, dir string) (bytes int64) {
	names, err := list(fs, dir)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := fs.Stat(path(dir, name)); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// Load returns the manifest that Receive left in dir. Without one the error is ErrIncomplete; it is ErrCorrupt if a
// file is gone or was cut. What the files hold was verified when they came.
func Load(fs durable.FS, dir string) (*Manifest, error) {
	m, err := readManifest(fs, dir, manifestName)
	if err != nil {
		return nil, err
	}
	for i := range m.Files {
		f := &m.Files[i]
		switch info, err := fs.Stat(path(dir, f.Name)); {
		case errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		case err != nil:
			return nil, fmt.Errorf("checkpoint: look at a file: %w", err)
		case info.IsDir() || info.Size() != f.Bytes:
			return nil, fmt.Errorf("%w: %s has %d bytes, want %d", ErrCorrupt, path(dir, f.Name), info.Size(), f.Bytes)
		}
	}
	return m, nil
}

// Remove deletes dir with everything in it, durably. A missing directory is no error.
func Remove(fs durable.FS, dir string) error {
	if err := fs.RemoveAll(dir); err != nil {
		return fmt.Errorf("checkpoint: remove %s: %w", dir, err)
	}
	if err := fs.SyncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("checkpoint: remove %s: %w", dir, err)
	}
	return nil
}

func writeManifest(fs durable.FS, dir, name string, m *Manifest) error {
	p, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	scratch := filepath.Join(dir, scratchName)
	f, err := fs.Create(scratch)
	if err != nil {
		return fmt.Errorf("checkpoint: save manifest: %w", err)
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(scratch, filepath.Join(dir, name))
	}
	if err == nil {
		err = fs.SyncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: save manifest: %w", err)
	}
	return nil
}

func readManifest(fs durable.FS, dir, name string) (*Manifest, error) {
	f, err := fs.Open(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s has no manifest", ErrIncomplete, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: load manifest: %w", err)
	}
	defer f.Close()
	p, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: load manifest: %w", err)
	}
	m := new(Manifest)
	if err := m.UnmarshalBinary(p); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}

// list returns the names of all files of dir but this package's own, in order.
func list(fs durable.FS, dir string) ([]string, error) {
	top, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range top {
		if reserved(name) {
			continue
		}
		info, err := fs.Stat(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			names = append(names, name)
			continue
		}
		nested, err := fs.List(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		for _, n := range nested {
			names = append(names, name+"/"+n)
		}
	}
	slices.Sort(names)
	return names, nil
}

// path returns where a manifest's file is.
func path(dir, name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

// sum reads a file to its end. See hashInto.
func sum(
	fs durable.FS, name string, buf []byte, step func(bytes int64) error,
) (int64, [sha256.Size]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return 0, [sha256.Size]byte{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := hashInto(h, f, buf, step)
	return n, [sha256.Size]byte(h.Sum(nil)), err
}

// hashInto folds the rest of r into h. Unlike io.Copy it never hands buf to a hash that keeps it. step is called for
// each part that was read, which takes no longer than a disk needs for buf; its error ends the reading.
func hashInto(h hash.Hash, r io.Reader, buf []byte, step func(bytes int64) error) (int64, error) {
	var total int64
	for {
		n, err := r.Read(buf)
		h.Write(buf[:n])
		total += int64(n)
		if ended := step(int64(n)); ended != nil {
			return total, ended
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
