package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/overview"
	"github.com/mimir-kv/mimir/replication/internal/recall"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	identityFile    = "IDENTITY"
	diskFile        = "DISK" // its own identity, and how often it was started
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

// claimDirectory checks that the data directory is this node's, and reports whether it was empty.
func claimDirectory(fs durable.FS, c *Config) (fresh bool, err error) {
	if err := durable.MakeDir(fs, c.DataDir); err != nil {
		return false, fmt.Errorf("create data directory: %w", err)
	}
	path := filepath.Join(c.DataDir, identityFile)
	own := identity{
		Version: identityVersion, Fleet: c.FleetID, Region: c.RegionID, Node: c.NodeID,
		RaftID: members.RaftID(c.RegionID, c.NodeID),
	}
	encoded, err := durable.ReadFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("read identity: %w", err)
	}
	var found identity
	if err := json.Unmarshal(encoded, &found); err != nil {
		return false, fmt.Errorf("%w: %s is not what was written: %w", ErrDamaged, path, err)
	}
	if found.RaftID != members.RaftID(found.Region, found.Node) {
		return false, fmt.Errorf("%w: %s is not what was written: it names node %s of region %s with another number "+
			"than theirs", ErrDamaged, path, found.Node, found.Region)
	}
	if found.Version != identityVersion && found.Fleet == own.Fleet && found.RaftID == own.RaftID {
		return false, fmt.Errorf("%w: %s has format %d, and this mimir knows %d: run a newer one, or the file is "+
			"damaged", ErrIdentity, path, found.Version, identityVersion)
	}
	if found != own {
		return false, fmt.Errorf(
			"%w: %s belongs to node %s of region %s in fleet %s (format %d); this is node %s of region %s in fleet %s",
			ErrIdentity, c.DataDir, found.Node, found.Region, found.Fleet, found.Version, own.Node, own.Region,
			own.Fleet)
	}
	return false, nil
}

// markDirectory makes the data directory this node's, durably.
func markDirectory(fs durable.FS, c *Config) error {
	own := identity{
		Version: identityVersion, Fleet: c.FleetID, Region: c.RegionID, Node: c.NodeID,
		RaftID: members.RaftID(c.RegionID, c.NodeID),
	}
	encoded, err := json.Marshal(own)
	if err != nil {
		return err
	}
	err = durable.WriteFile(fs, filepath.Join(c.DataDir, identityFile), func(w io.Writer) error {
		_, err := w.Write(append(encoded, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	return nil
}

// checkNotKnown asks the region's other nodes whether this one, whose data directory is empty, was a member with data
// before, or was removed. If so it must not vote again under its old identity: it has forgotten what it promised.
func (n *node) checkNotKnown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.config.callTimeout())
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var known error
	for id, addr := range n.config.Nodes {
		if id == n.config.NodeID {
			continue
		}
		wg.Go(func() {
			if members.Known(ctx, n.client, addr, n.config.RegionID, n.self()) {
				mu.Lock()
				defer mu.Unlock()
				known = fmt.Errorf("%w, says node %s; a name is not used twice: add it under another", ErrRemoved, id)
				return
			}
			r, err := overview.Ask(ctx, n.client, addr, n.asker())
			if err != nil {
				return
			}
			if slices.ContainsFunc(r.Members, func(m timeline.Member) bool { return m.ID == n.id }) {
				mu.Lock()
				defer mu.Unlock()
				known = fmt.Errorf("%w: node %s knows %s as a member with data, but %s is empty; remove the member "+
					"and add it again under a new name",
					ErrDiskLost, id, n.config.NodeID, n.config.DataDir)
			}
		})
	}
	wg.Wait()
	return known
}

// askTimeout bounds the questions about a node's own past, for which its start waits.
const askTimeout = time.Second

// newCheck returns what asks every other node whether this one's disk went back.
func (n *node) newCheck() *recall.Check {
	c := &n.config
	addresses := n.directory.Others()
	for _, region := range n.otherRegions() {
		addresses = append(addresses, c.Regions[region]...)
	}
	return recall.NewCheck(recall.Config{
		ID: n.id, Node: c.NodeID, Disk: n.disk, Last: max(n.log.LastIndex(), n.applied.View().Index),
		Addresses: addresses, Timeout: min(askTimeout, c.callTimeout()), Clock: c.Clock, Client: n.client,
	})
}
