package durable

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// MakeDir makes dir and every directory above it that is missing, durably. One that may not outlast a power cut is not
// left there, as the next call would take it for one that does; but no call can do better where the one above may
// not be read. Of two that make the same one at once, the other may find it gone then, and fails.
func MakeDir(fsys FS, dir string) error {
	_, err := fsys.Stat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MakeDir(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	if err := fsys.SyncDir(parent); err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			_ = fsys.Remove(dir) // unless somebody uses it already
		}
		return err
	}
	return nil
}

// writeBytes is how much of a file WriteFile keeps in memory: most files that it writes are far smaller, and many are
// written each second.
const writeBytes = 32 << 10

// ErrUnsettled says that a file is in its place, and that a power cut may still put the former one there.
var ErrUnsettled = errors.New("durable: the new file is in its place, and may not stay there over a power cut")

// WriteFile makes path hold what fill writes, durably, replacing a former file at once. On an error the former file is
// still there, and nothing of the new one is: it may be that there was no room for it. But on one that is ErrUnsettled
// the new one is there, whatever else the error is: who goes on must not do so as if it were not.
func WriteFile(fsys FS, path string, fill func(io.Writer) error) error {
	temporary := path + ".tmp"
	f, err := fsys.Create(temporary)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, writeBytes)
	if err = fill(b); err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = fsys.Remove(temporary) // if it cannot be, the next one takes its place
		return err
	}
	if err := fsys.Rename(temporary, path); err != nil {
		_ = fsys.Remove(temporary)
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	return nil
}

// readTries is how often ReadFile tries to read a file that cannot be read and is there: what a disk or the operating
// system says once may be over the next time.
const readTries = 3

// ReadFile returns the content of path. Whoever is told by an error but fs.ErrNotExist that it cannot be read does not
// know what it holds: neither that it is damaged nor that it is gone.
func ReadFile(fsys FS, path string) (content []byte, err error) {
	for range readTries {
		content, err = readFile(fsys, path)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			break
		}
	}
	return content, err
}

func readFile(fsys FS, path string) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return content, nil
}
