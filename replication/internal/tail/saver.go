package tail

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/raft/v3"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Saver adds to what a node has saved. Only the goroutine that applies uses it.
type Saver struct {
	tails *Tails
	log   Log
}

// NewSaver returns who saves to t what log has.
func NewSaver(t *Tails, log Log) *Saver { return &Saver{tails: t, log: log} }

// Save writes what the history that reigns describe has after the fork d, from the entries of the log before upTo, to a
// rescue file. If the log does not reach back that far on this node, whole copies the whole state into a directory
// beside it instead. What was saved before a crash is left alone.
func (s *Saver) Save(d timeline.Divergence, reigns []timeline.Reign, upTo uint64, whole func(dir string) error) error {
	c, name := &s.tails.config, rescue.Name(s.tails.config.Region, d)
	header := rescue.Header{
		Fleet: c.Fleet, Region: c.Region, Node: c.Node,
		Fork: d.Fork, Last: d.At, Claim: d.Claim, Saved: c.Clock.Now().UTC(),
	}
	counts, err := rescue.Write(c.FS, c.Dir, name, header, entriesOf(s.log, reigns, d, upTo))
	if errors.Is(err, raft.ErrCompacted) {
		return s.saveWhole(name, whole)
	}
	if err != nil {
		return err
	}
	c.Logger.Warn("saved the tail that the fleet's history does not have", "tail", name, "dir", c.Dir,
		"commands", counts.Commands, "bytes", counts.Bytes, "fork", d.Fork, "last", d.At)
	return nil
}

// saveWhole keeps a copy of the whole state under the tail's name.
func (s *Saver) saveWhole(name string, whole func(dir string) error) error {
	fs := s.tails.config.FS
	if err := durable.MakeDir(fs, s.tails.config.Dir); err != nil {
		return err
	}
	dir := filepath.Join(s.tails.config.Dir, name+".state")
	if err := fs.RemoveAll(dir); err != nil {
		return err
	}
	if err := whole(dir); err != nil {
		return fmt.Errorf("save state before rejoining: %w", err)
	}
	s.tails.config.Logger.Warn(
		"the log does not reach back to the fork on this node; saved the whole state instead of the tail", "dir", dir)
	return fs.SyncDir(s.tails.config.Dir)
}
