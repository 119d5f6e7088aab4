package recall

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// diskVersion is the format of the file that holds a Disk.
const diskVersion = 1

// Disk is the identity of a data directory, and how often a node started on it. The zero Disk is of a node of an
// earlier version.
type Disk struct {
	ID     string // drawn when the directory was first used
	Starts uint64 // this one included
	Boot   string // drawn at each start
}

// diskFile is what the file holds. It is JSON, so that a version after this one can add to it.
type diskFile struct {
	Version int    `json:"version"`
	Disk    string `json:"disk"`
	Starts  uint64 `json:"starts"`
}

// Start counts a start in the file at path, durably, and returns the disk as it is with it. A directory without the
// file, of an earlier version or new, gets one.
func Start(fs durable.FS, path string) (Disk, error) {
	f, err := read(fs, path)
	if err != nil {
		return Disk{}, err
	}
	f.Starts++
	encoded, err := json.Marshal(f)
	if err != nil {
		return Disk{}, err
	}
	err = durable.WriteFile(fs, path, func(w io.Writer) error {
		_, err := w.Write(append(checksum.Seal(encoded), '\n'))
		return err
	})
	if err != nil {
		return Disk{}, fmt.Errorf("count this start: %w", err)
	}
	return Disk{ID: f.Disk, Starts: f.Starts, Boot: draw()}, nil
}

func draw() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func read(fs durable.FS, path string) (*diskFile, error) {
	encoded, err := durable.ReadFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return &diskFile{Version: diskVersion, Disk: draw()}, nil
	} else if err != nil {
		return nil, fmt.Errorf("read how often this disk was started: %w", err)
	}
	whole, _ := checksum.Unbroken(encoded) // that of a former version has no checksum, and gets one with this start
	f := new(diskFile)
	switch err := json.Unmarshal(encoded, f); {
	case !whole || err != nil || f.Disk == "" || f.Starts == 0:
		return nil, fmt.Errorf("%w: %s is damaged; remove the member and add it again under a new name",
			contract.ErrDiskLost, path)
	case f.Version != diskVersion:
		return nil, fmt.Errorf("%w: %s has format %d, this version knows %d: start the version that wrote it",
			contract.ErrIdentity, path, f.Version, diskVersion)
	}
	return f, nil
}
