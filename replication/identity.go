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
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

const (
	identityFile    = "IDENTITY"
	diskFile        = "DISK"  // its own identity, and how often it was started
	heardFile       = "HEARD" // what was heard of the disks of others
	identityVersion = 1
	sownVersion     = 2 // of a directory that was sown, until the node takes part: versions before refuse it
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
// nil if this node does not know: it was not there and nobody told it, or a former version was.
type marked struct {
	identity
	Formed map[uint64]string `json:"formed,omitempty"`
	// Left are the nodes without which it was formed.
	Left []uint64 `json:"left,omitempty"`
	// Sown says with what the directory was sown, in the format sownVersion: "" is that this did not come to its end.
	Sown string `json:"sown,omitempty"`
}

// claim is what a data directory says of itself.
type claim struct {
	fresh  bool        // it says nothing: it is empty
	sealed bool        // the file that says whose it is has a checksum: those of former versions have none
	born   recall.Part // how the region was formed
	sown   string      // with what it was sown, as long as the node has taken no part; "": nothing
}

// blank reports whether the node has taken no part in its region yet with this directory.
func (c claim) blank() bool { return c.fresh || c.sown != "" }

// claimDirectory checks that the data directory is this node's or nobody's.
func claimDirectory(fs durable.FS, c *Config) (claim, error) {
	if err := durable.MakeDir(fs, c.DataDir); err != nil {
		return claim{}, fmt.Errorf("create data directory: %w", err)
	}
	path := filepath.Join(c.DataDir, identityFile)
	own := c.identity()
	encoded, err := durable.ReadFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return claim{fresh: true}, nil
	} else if err != nil {
		return claim{}, fmt.Errorf("read identity: %w", err)
	}
	whole, sealed := checksum.Unbroken(encoded)
	if !whole {
		return claim{}, fmt.Errorf("%w: %s is not what was written: its checksum is another", ErrDamaged, path)
	}
	var found marked
	if err := json.Unmarshal(encoded, &found); err != nil {
		return claim{}, fmt.Errorf("%w: %s is not what was written: %w", ErrDamaged, path, err)
	}
	if found.RaftID != members.RaftID(found.Region, found.Node) {
		return claim{}, fmt.Errorf("%w: %s is not what was written: it names node %s of region %s with "+
			"another number than theirs", ErrDamaged, path, found.Node, found.Region)
	}
	sown := found.Version == sownVersion
	if sown && found.Sown == "" {
		return claim{}, fmt.Errorf("%w: %s was to be that of node %s", ErrHalfSown, c.DataDir, found.Node)
	}
	if sown {
		found.Version = identityVersion
	}
	if found.Version > identityVersion && found.Fleet == own.Fleet && found.RaftID == own.RaftID {
		return claim{}, fmt.Errorf("%w: %s has format %d, and this mimir knows %d", ErrNewer, path, found.Version,
			sownVersion)
	}
	if found.identity != own {
		return claim{}, fmt.Errorf(
			"%w: %s belongs to node %s of region %s in fleet %s (format %d); this is node %s of region %s in fleet %s",
			ErrIdentity, c.DataDir, found.Node, found.Region, found.Fleet, found.Version, own.Node, own.Region,
			own.Fleet)
	}
	return claim{sealed: sealed, born: recall.Part{Formed: found.Formed, Left: found.Left}, sown: found.Sown}, nil
}

// identity is that of this node.
func (c *Config) identity() identity {
	return identity{
		Version: identityVersion, Fleet: c.FleetID, Region: c.RegionID, Node: c.NodeID,
		RaftID: members.RaftID(c.RegionID, c.NodeID),
	}
}

// CheckDirectory reports whether the data directory, which is there, is this node's or nobody's. It changes nothing.
// Errors: ErrConfig, ErrIdentity, ErrDamaged, ErrNewer, ErrHalfSown, and those of reading.
func (c *Config) CheckDirectory() error {
	if c == nil || c.DataDir == "" {
		return fmt.Errorf("%w: no DataDir", ErrConfig)
	}
	full := c.withDefaults()
	_, err := claimDirectory(full.FS, &full)
	return err
}

// markDirectory makes the data directory that of this node, which takes part in its region, durably.
func markDirectory(fs durable.FS, c *Config, born recall.Part) error {
	return marked{identity: c.identity(), Formed: born.Formed, Left: born.Left}.write(fs, c)
}

// takeBack has a directory that was empty say nothing again, as far as a process sees that comes: that a power cut does
// not bring it back could take room.
func (c claim) takeBack(config *Config) error {
	if !c.fresh {
		return fmt.Errorf("%s was not empty: what it said is overwritten", config.DataDir)
	}
	if err := config.FS.Remove(config.path(identityFile)); err != nil {
		return err
	}
	if err := config.FS.SyncDir(config.DataDir); !durable.Full(err) {
		return err
	}
	return nil
}

// markSown makes the data directory one that was sown, durably; with nothing: one on which no node starts.
func markSown(fs durable.FS, c *Config, with string) error {
	m := marked{identity: c.identity(), Sown: with}
	m.Version = sownVersion
	return m.write(fs, c)
}

func (m marked) write(fs durable.FS, c *Config) error {
	encoded, err := json.Marshal(m)
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

// checkLog reports whether the log of a node is the one that its directory was last used with.
func checkLog(n *node) error {
	if n.log.HardState() == nil && n.log.LastIndex() == 0 { // that it is empty says more
		return nil
	}
	start, known, err := wal.StartOf(n.log)
	if err != nil {
		return err
	}
	l := recall.UsedLog{ID: wal.IDOf(n.log), Start: start, Known: known}
	return recall.CheckLog(n.config.FS, n.config.path(diskFile), l)
}

// otherLog reports whether the directory was used with another log than the one that is there: a node that joins may
// have got nothing yet, and then its log is the one that it began with.
func otherLog(n *node) bool {
	used := recall.UsedLog{ID: wal.IDOf(n.log)}
	return recall.CheckLog(n.config.FS, n.config.path(diskFile), used) != nil
}

// noteLog notes that the directory of a node is used with this log. The log first: it is never behind what the
// directory says.
func noteLog(n *node) error {
	if err := wal.NoteStart(n.log, n.disk.Starts); err != nil {
		return err
	}
	return recall.NoteLog(n.config.FS, n.config.path(diskFile), wal.IDOf(n.log), n.disk.Starts)
}
