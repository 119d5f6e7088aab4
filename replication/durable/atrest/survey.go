package atrest

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Found is one file of a survey.
type Found struct {
	Path      string
	Bytes     int64 // on the disk
	Encrypted bool
	Key       KeyID // if it is encrypted
	inode     inode
}

// inode tells files apart that may have several names. The zero value says that nobody knows.
type inode struct{ device, number uint64 }

// Survey tells each of every file below dir that is not empty, in the filesystem as it lies on the disk. It reads
// headers only, needs no keys, and changes nothing. A file that goes meanwhile is left out.
func Survey(below vfs.FS, dir string, each func(Found) error) error {
	names, err := below.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range names {
		path := below.PathJoin(dir, name)
		info, err := below.Stat(path)
		switch {
		case err == nil && info.IsDir():
			err = Survey(below, path, each)
		case err == nil && info.Mode().IsRegular() && info.Size() > 0 && !strings.HasSuffix(name, renewing):
			err = surveyFile(below, path, info, each)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func surveyFile(below vfs.FS, path string, info vfs.FileInfo, each func(Found) error) error {
	f, err := below.Open(path)
	if err != nil {
		return err
	}
	h, encrypted, err := readHeader(f, path)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return each(Found{
		Path: path, Bytes: info.Size(), Encrypted: encrypted, Key: h.key, inode: inodeOf(info),
	})
}
