package tail

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/raft/v3"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
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

// Save writes what the history of the state st has after the fork d, from the entries of the log before upTo, to a
// rescue file. Where the log does not reach back that far on this node, the file has what the log has, and whole copies
// the whole state into a directory beside it. What was saved before a crash is left alone.
func (s *Saver) Save(d timeline.Divergence, st *timeline.State, upTo uint64, whole func(dir string) error) error {
	c, name := &s.tails.config, rescue.Name(s.tails.config.Region, d, st.Cursor.Chain)
	h := rescue.Header{
		Fleet: c.Fleet, Region: c.Region, Node: c.Node,
		Fork: d.Fork, Last: d.At, Chain: st.Cursor.Chain, Claim: d.Claim, Saved: c.Clock.Now().UTC(),
	}
	if s.has(name, h) {
		if err := c.FS.SyncDir(c.Dir); err != nil { // it may be of an attempt that could not do that
			return fmt.Errorf("make tail %s in %s durable: %w", name, c.Dir, err)
		}
		return nil
	}
	counts, err := rescue.Write(c.FS, c.Dir, name, h, History(s.log, st.Reigns, d.Fork, d.At, upTo))
	if lacks(err) {
		counts, err = s.savePart(name, h, st.Reigns, upTo, whole)
	}
	if err != nil {
		return err
	}
	c.Logger.Warn("saved the tail that the fleet's history does not have", "tail", name, "dir", c.Dir,
		"commands", counts.Commands, "bytes", counts.Bytes, "fork", d.Fork, "last", d.At)
	return nil
}

// has reports whether this node holds just that tail already, in commands or in a whole state with what the log had.
func (s *Saver) has(name string, h rescue.Header) bool {
	c := &s.tails.config
	_, held, err := rescue.Verify(c.FS, c.Dir, name)
	if err != nil || !held.Ends(h) {
		return false
	}
	meta, err := copies.ReadMetadata(c.FS, filepath.Join(c.Dir, name+stateSuffix))
	return held.Begins() == h.Fork || err == nil && meta.Chain == h.Chain
}

// lacks reports whether the log has not what a tail needs.
func lacks(err error) bool {
	return errors.Is(err, raft.ErrCompacted) || errors.Is(err, raft.ErrUnavailable) ||
		errors.Is(err, rescue.ErrContents)
}

// savePart keeps a copy of the whole state under the tail's name, and then the commands that the log has.
func (s *Saver) savePart(
	name string, h rescue.Header, reigns []timeline.Reign, upTo uint64, whole func(dir string) error,
) (counts rescue.Counts, err error) {
	if err := s.saveWhole(name, h.Chain, whole); err != nil {
		return counts, fmt.Errorf("save state before rejoining: %w", err)
	}
	c := &s.tails.config
	if first, ok := s.log.FirstPosition(); ok && first > h.Fork && first < h.Last {
		h.After = first
		counts, err = rescue.Write(c.FS, c.Dir, name, h, History(s.log, reigns, first, h.Last, upTo))
		if !lacks(err) {
			return counts, err
		}
	}
	h.After = h.Last
	return rescue.Write(c.FS, c.Dir, name, h, nothing)
}

// saveWhole keeps a copy of the whole state, which ends at a chain, beside the tail of this name.
func (s *Saver) saveWhole(name string, chain timeline.Chain, whole func(dir string) error) error {
	fs, dir := s.tails.config.FS, s.tails.config.Dir
	state := filepath.Join(dir, name+stateSuffix)
	if meta, err := copies.Look(fs, state); err != nil {
		return err // it may be whole, and all that there is
	} else if meta != nil && meta.Chain == chain {
		return nil
	}
	part := state + partSuffix
	if err := durable.MakeDir(fs, dir); err != nil {
		return err
	}
	for _, old := range []string{part, state} { // neither is whole
		if err := fs.RemoveAll(old); err != nil {
			return err
		}
	}
	if err := whole(part); err != nil {
		return errors.Join(err, fs.RemoveAll(part)) // there may have been no room for it
	}
	if err := fs.Rename(part, state); err != nil {
		return err
	}
	s.tails.config.Logger.Warn(
		"the log does not reach back to the fork on this node; saved the whole state beside the tail", "dir", state)
	return fs.SyncDir(dir)
}
