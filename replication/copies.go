package replication

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

const (
	// copyService gives a whole state as files to a region that cannot follow the log, and to nodes of the own region.
	copyService = "copy/1"
	// copyLifetime is how long a copy waits for a receiver that lost its connection.
	copyLifetime = 10 * time.Minute
)

// copyRequest asks for a state. With an ID it is that copy and no other; otherwise any that has applied MinIndex (of the own
// region) will do, and Have names the one of which a part is there.
type copyRequest struct {
	Region   string `json:"region"`
	ID       string `json:"id,omitempty"`
	Have     string `json:"have,omitempty"`
	MinIndex uint64 `json:"minIndex,omitempty"`
	// MinEpoch is the claim to which the asking region gave way: a history without it would lead back into its own reign.
	MinEpoch Epoch `json:"minEpoch,omitempty"`
}

// copyMeta travels with a copy: where in the history it is.
type copyMeta struct {
	Region string          `json:"region"`
	Index  uint64          `json:"index"`
	Origin timeline.Origin `json:"origin"`
}

// copies makes, keeps, serves and fetches copies of the state, each a directory under its folder named by its ID.
type copies struct {
	node *node
	made string // copies of this node's state, for others
	here string // copies of other states, for this node

	fetching chan struct{} // has room for the one that fetches: there is one place for what comes in

	mu      sync.Mutex
	serving map[string]*servedCopy
	staged  map[string]uint64 // the term whose leader may propose to install the copy
	making  sync.Mutex        // one at a time
}

// servedCopy is a copy of this node's state that somebody takes or may come back for.
type servedCopy struct {
	dir      string
	index    uint64 // of the state
	epoch    Epoch
	manifest *checkpoint.Manifest
	users    int
	idle     time.Time // since when nobody takes it
}

func newCopies(n *node) *copies {
	return &copies{
		node: n, made: n.config.path("copies"), here: n.config.path("staging"),
		fetching: make(chan struct{}, 1), serving: map[string]*servedCopy{}, staged: map[string]uint64{},
	}
}

// serve is the transport handler of copyService.
func (c *copies) serve(ctx context.Context, s transport.Stream) error {
	encoded, err := s.Recv()
	if err != nil {
		return peer.IgnoreEnd(err)
	}
	var r copyRequest
	if err := json.Unmarshal(encoded, &r); err != nil {
		return fmt.Errorf("%w: copy request: %w", ErrMessage, err)
	}
	if r.ID != "" {
		return c.sendStaged(ctx, s, r.ID)
	}
	copied, id, err := c.take(&r)
	if err != nil {
		return err
	}
	defer c.release(copied)
	c.node.logger.Info("sends its state", "to", r.Region, "copy", id, "bytes", copied.manifest.Bytes())
	return checkpoint.Send(ctx, s, c.node.config.FS, copied.dir, copied.manifest)
}

// sendStaged passes on, inside the region, a copy that this node has fetched.
func (c *copies) sendStaged(ctx context.Context, s transport.Stream, id string) error {
	dir, err := c.stagedDir(id)
	if err != nil {
		return err
	}
	m, err := checkpoint.Load(c.node.config.FS, dir)
	if err != nil {
		return fmt.Errorf("copy %s: %w", id, err)
	}
	return checkpoint.Send(ctx, s, c.node.config.FS, dir, m)
}

// take returns a copy that fits the request, an earlier one that is still good or a new one.
func (c *copies) take(r *copyRequest) (*servedCopy, string, error) {
	v := c.node.applied.View()
	if v.Index < r.MinIndex {
		return nil, "", fmt.Errorf("%w: state at entry %d, asked for %d", ErrNotReady, v.Index, r.MinIndex)
	}
	if v.State.Cursor.Epoch < r.MinEpoch {
		return nil, "", fmt.Errorf("%w: state of epoch %d, asked for %d", ErrNotReady, v.State.Cursor.Epoch, r.MinEpoch)
	}
	if r.Region != c.node.config.RegionID && v.State.Role() == timeline.Diverged {
		return nil, "", fmt.Errorf("%w: region %s cannot be copied", ErrDiverged, c.node.config.RegionID)
	}
	c.mu.Lock()
	if held := c.serving[r.Have]; held != nil && held.index >= r.MinIndex && held.epoch >= r.MinEpoch {
		held.users++
		c.mu.Unlock()
		return held, r.Have, nil
	}
	c.mu.Unlock()
	return c.make()
}

func (c *copies) make() (*servedCopy, string, error) {
	c.making.Lock()
	defer c.making.Unlock()
	n, id := c.node, nonce()
	name := hex.EncodeToString(id[:])
	dir := filepath.Join(c.made, name)
	if err := durable.MakeDir(n.config.FS, c.made); err != nil {
		return nil, "", err
	}
	if _, err := n.applier.Sync(); err != nil { // so that the copy itself is quick
		return nil, "", err
	}
	meta, origin, err := n.applier.checkpoint(dir)
	if err != nil {
		return nil, "", fmt.Errorf("copy state: %w", errors.Join(err, checkpoint.Remove(n.config.FS, dir)))
	}
	encoded, err := json.Marshal(copyMeta{Region: n.config.RegionID, Index: meta.AppliedIndex, Origin: origin})
	if err != nil {
		return nil, "", err
	}
	m, err := checkpoint.Describe(n.config.FS, dir, id, encoded)
	if err != nil {
		return nil, "", fmt.Errorf("copy state: %w", errors.Join(err, checkpoint.Remove(n.config.FS, dir)))
	}
	copied := &servedCopy{dir: dir, index: meta.AppliedIndex, epoch: meta.Epoch, manifest: m, users: 1}
	c.mu.Lock()
	c.serving[name] = copied
	c.mu.Unlock()
	return copied, name, nil
}

func (c *copies) release(s *servedCopy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.users--
	s.idle = c.node.config.Clock.Now()
}

// tidy removes copies that nobody came back for, and staged ones that nobody can ask for.
func (c *copies) tidy() {
	c.tidyStaged()
	now := c.node.config.Clock.Now()
	c.mu.Lock()
	var old []*servedCopy
	for id, s := range c.serving {
		if s.users == 0 && now.Sub(s.idle) > copyLifetime {
			old = append(old, s)
			delete(c.serving, id)
		}
	}
	c.mu.Unlock()
	for _, s := range old {
		if err := checkpoint.Remove(c.node.config.FS, s.dir); err != nil {
			c.node.logger.Warn("copy not removed", "dir", s.dir, "err", err)
		}
	}
}

// keep says that the leader of term may propose to install a staged copy.
func (c *copies) keep(id string, term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.staged[id] = max(c.staged[id], term)
}

// tidyStaged removes staged copies that nobody can propose to install any more: terms never fall in a log. Of a copy that an earlier
// process staged only the present term is known, which is no lower.
func (c *copies) tidyStaged() {
	names, err := c.node.config.FS.List(c.here)
	if err != nil {
		return // nothing was staged yet
	}
	present, applied := c.node.group.Status().Term, c.node.applied.View().Term
	for _, id := range names {
		if !isCopyID(id) {
			continue
		}
		c.mu.Lock()
		term, known := c.staged[id]
		if !known {
			c.staged[id] = present
		}
		c.mu.Unlock()
		if known && applied > term {
			c.discard(id)
		}
	}
}

// discard removes a staged copy.
func (c *copies) discard(id string) {
	dir := filepath.Join(c.here, id)
	if err := checkpoint.Remove(c.node.config.FS, dir); err != nil {
		c.node.logger.Warn("staged copy not removed", "dir", dir, "err", err)
		return
	}
	c.mu.Lock()
	delete(c.staged, id)
	c.mu.Unlock()
}

// clean removes what an earlier process left for others.
func (c *copies) clean() error {
	return checkpoint.Remove(c.node.config.FS, c.made)
}

// fetch takes a copy from addr into the staging folder and returns its identity and place.
func (c *copies) fetch(ctx context.Context, addr string, r copyRequest, progress func(checkpoint.Progress)) (string, *copyMeta, error) {
	select {
	case c.fetching <- struct{}{}:
		defer func() { <-c.fetching }()
	case <-ctx.Done():
		return "", nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.node.transport.Open(ctx, addr, copyService)
	if err != nil {
		return "", nil, err
	}
	encoded, err := json.Marshal(r)
	if err != nil {
		return "", nil, err
	}
	if err := s.Send(encoded); err != nil {
		return "", nil, err
	}
	fs := c.node.config.FS
	if err := durable.MakeDir(fs, c.here); err != nil {
		return "", nil, err
	}
	incoming := filepath.Join(c.here, "incoming")
	m, err := checkpoint.Receive(ctx, s, fs, incoming, progress)
	if err != nil {
		return "", nil, err
	}
	var meta copyMeta
	if err := json.Unmarshal(m.Meta, &meta); err != nil {
		return "", nil, fmt.Errorf("%w: description of a copy: %w", ErrMessage, err)
	}
	id := hex.EncodeToString(m.ID[:])
	dir := filepath.Join(c.here, id)
	if err := checkpoint.Remove(fs, dir); err != nil {
		return "", nil, err
	}
	if err := fs.Rename(incoming, dir); err != nil {
		return "", nil, err
	}
	return id, &meta, fs.SyncDir(c.here)
}

// partial returns the identity of the copy of which a part is staged, "" if there is none.
func (c *copies) partial() string {
	m, err := checkpoint.Partial(c.node.config.FS, filepath.Join(c.here, "incoming"))
	if err != nil {
		return ""
	}
	return hex.EncodeToString(m.ID[:])
}

func isCopyID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16
}

// stagedDir returns where a copy is staged. The identity may come from another node.
func (c *copies) stagedDir(id string) (string, error) {
	if !isCopyID(id) {
		return "", fmt.Errorf("%w: copy %q", ErrMessage, id)
	}
	dir := filepath.Join(c.here, id)
	_, err := checkpoint.Load(c.node.config.FS, dir)
	return dir, err
}

// stageRequest asks a node to fetch a copy from another node of its region.
type stageRequest struct {
	ID   string `json:"id"`
	From string `json:"from"`
	Term uint64 `json:"term"` // that the asking node leads
}

func (n *node) stage(ctx context.Context, r stageRequest) error {
	n.copies.keep(r.ID, max(r.Term, n.group.Status().Term))
	if _, err := n.copies.stagedDir(r.ID); err == nil {
		return nil
	}
	id, _, err := n.copies.fetch(ctx, r.From, copyRequest{Region: n.config.RegionID, ID: r.ID}, nil)
	if err == nil && id != r.ID {
		err = fmt.Errorf("%w: got copy %s, asked for %s", ErrMessage, id, r.ID)
	}
	if err != nil {
		return fmt.Errorf("stage copy: %w", err)
	}
	return nil
}
