package replication

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/recall"
)

const (
	identityFile    = "IDENTITY"
	diskFile        = "DISK"  // its own identity, and how often it was started
	heardFile       = "HEARD" // what was heard of the disks of others
	identityVersion = 1
)

// identity says whose data a directory holds.
type identity struct {
	Version int    `json:"version"`
	Fleet   string `json:"fleet"`
	Region  string `json:"region"`
	Node    string `json:"node"`
	RaftID  uint64 `json:"raftID"`
}

// marked is what the file holds: whose data it is, and the disks with which the region was formed, by Raft identity,
// nil if this node was not there or a former version was.
type marked struct {
	identity
	Formed map[uint64]string `json:"formed,omitempty"`
	// Left are the nodes without which it was formed.
	Left []uint64 `json:"left,omitempty"`
}

// claimDirectory checks that the data directory is this node's, and reports whether it was empty, and whether the file
// that says whose it is has a checksum: those of former versions have none. born is what else it says.
func claimDirectory(fs durable.FS, c *Config) (fresh, sealed bool, born recall.Part, err error) {
	if err := durable.MakeDir(fs, c.DataDir); err != nil {
		return false, false, born, fmt.Errorf("create data directory: %w", err)
	}
	path := filepath.Join(c.DataDir, identityFile)
	own := identity{
		Version: identityVersion, Fleet: c.FleetID, Region: c.RegionID, Node: c.NodeID,
		RaftID: members.RaftID(c.RegionID, c.NodeID),
	}
	encoded, err := durable.ReadFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return true, false, born, nil
	} else if err != nil {
		return false, false, born, fmt.Errorf("read identity: %w", err)
	}
	whole, sealed := checksum.Unbroken(encoded)
	if !whole {
		return false, true, born, fmt.Errorf("%w: %s is not what was written: its checksum is another", ErrDamaged,
			path)
	}
	var found marked
	if err := json.Unmarshal(encoded, &found); err != nil {
		return false, sealed, born, fmt.Errorf("%w: %s is not what was written: %w", ErrDamaged, path, err)
	}
	if found.RaftID != members.RaftID(found.Region, found.Node) {
		return false, sealed, born, fmt.Errorf("%w: %s is not what was written: it names node %s of region %s with "+
			"another number than theirs", ErrDamaged, path, found.Node, found.Region)
	}
	if found.Version != identityVersion && found.Fleet == own.Fleet && found.RaftID == own.RaftID {
		return false, sealed, born, fmt.Errorf("%w: %s has format %d, and this mimir knows %d: run a newer one, or "+
			"the file is damaged", ErrIdentity, path, found.Version, identityVersion)
	}
	if found.identity != own {
		return false, sealed, born, fmt.Errorf(
			"%w: %s belongs to node %s of region %s in fleet %s (format %d); this is node %s of region %s in fleet %s",
			ErrIdentity, c.DataDir, found.Node, found.Region, found.Fleet, found.Version, own.Node, own.Region,
			own.Fleet)
	}
	return false, sealed, recall.Part{Formed: found.Formed, Left: found.Left}, nil
}

// CheckDirectory reports whether the data directory, which is there, is this node's or nobody's. It changes nothing.
// Errors: ErrIdentity, ErrDamaged, and those of reading.
func (c *Config) CheckDirectory() error {
	full := c.withDefaults()
	_, _, _, err := claimDirectory(full.FS, &full)
	return err
}

// markDirectory makes the data directory this node's, durably.
func markDirectory(fs durable.FS, c *Config, born recall.Part) error {
	own := identity{
		Version: identityVersion, Fleet: c.FleetID, Region: c.RegionID, Node: c.NodeID,
		RaftID: members.RaftID(c.RegionID, c.NodeID),
	}
	encoded, err := json.Marshal(marked{own, born.Formed, born.Left})
	if err != nil {
		return err
	}
	err = durable.WriteFile(fs, filepath.Join(c.DataDir, identityFile), func(w io.Writer) error {
		_, err := w.Write(append(checksum.Seal(encoded), '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}
