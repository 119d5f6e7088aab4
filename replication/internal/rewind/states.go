package rewind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Ask has a node of the region make the state that Request describes, and tells what it is.
const Ask = peer.Question[Request, Made]("rewind")

// Request asks for the state at the fork. It travels as JSON: never change a name.
type Request struct {
	Index  uint64           `json:"index"` // an entry that was applied when the region had diverged
	Reigns []timeline.Reign `json:"reigns"`
}

// state is a state at the fork.
type state struct {
	until uint64 // before this entry of the log is applied, an entry may ask for it
	whole bool   // it is known to be on the disk
}

// Made is a state that a node has made.
type Made struct {
	ID     string          `json:"id"`
	Origin timeline.Origin `json:"origin"`
}

// Register registers the answers to what other nodes ask.
func (r *Rewinds) Register(questions *peer.Registry) {
	peer.Handle(questions, Ask, peer.RegionNode, func(ctx context.Context, q Request) (Made, error) {
		if err := peer.MaySpeak(ctx, r.config.Applied.State().Region); err != nil {
			return Made{}, err
		}
		return r.Prepare(ctx, q)
	})
}

// Prepare returns once this node has the state that was asked for. Errors: ErrNotReady if it cannot have it.
func (r *Rewinds) Prepare(ctx context.Context, q Request) (Made, error) {
	if r.config.Unfit() {
		return Made{}, errForgotten
	}
	v, err := r.config.Applied.Wait(ctx, func(v *region.View) bool { return v.Index >= q.Index })
	if err != nil {
		return Made{}, err
	}
	p, err := planOf(&v.State, q.Reigns, v.Index+1)
	if err != nil {
		return Made{}, err
	}
	meta, err := r.prepare(ctx, p)
	if err != nil {
		return Made{}, err
	}
	at := timeline.Cursor{Epoch: meta.Epoch, Position: meta.Position, Chain: meta.Chain}
	return Made{ID: p.id, Origin: timeline.Origin{Cursor: at, Reigns: p.reigns()}}, nil
}

// Remake makes the state that the entry at index installs, if it is one to which a region in the state s goes back, and
// this node does not have it: it was away when the others made it.
func (r *Rewinds) Remake(ctx context.Context, s *timeline.State, index uint64, id string, o *timeline.Origin) {
	if s.Diverged == nil || r.config.Unfit() {
		return
	}
	p, err := planOf(s, o.Reigns, index)
	if err != nil || p.id != id {
		return
	}
	if _, err := r.prepare(ctx, p); err != nil {
		r.config.Logger.Info("cannot go back to the fork here", "fork", p.fork, "err", err)
	}
}

// prepare makes the state of a plan, unless it is here, and returns what it is.
func (r *Rewinds) prepare(ctx context.Context, p *plan) (*contract.Metadata, error) {
	select {
	case r.preparing <- struct{}{}:
		defer func() { <-r.preparing }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.mu.Lock()
	s := r.states[p.id]
	r.states[p.id] = state{max(s.until, p.upTo), s.whole} // before it is there
	r.mu.Unlock()
	dir := filepath.Join(r.config.statesDir(), p.id)
	if meta, err := r.found(dir); meta != nil || err != nil {
		return meta, err
	}
	ctx, marks, end := r.begins(ctx)
	defer end()
	m, err := r.choose(p, marks)
	if err != nil {
		return nil, err
	}
	began := r.config.Clock.Now()
	meta, err := r.complete(ctx, p, m, dir)
	if err != nil {
		return nil, fmt.Errorf("from the checkpoint at position %d: %w", m.position, err)
	}
	r.setWhole(p.id, true)
	r.config.Logger.Info("has the state at the fork, from a checkpoint of its own", "fork", p.fork, "checkpoint",
		m.position, "took", r.config.Clock.Now().Sub(began))
	return meta, nil
}

// setWhole notes whether the state of this name is on the disk.
func (r *Rewinds) setWhole(id string, whole bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[id] = state{r.states[id].until, whole}
}

// found returns what the state in dir is, if it is there and a power cut leaves it: it may be of an attempt that could
// not make it durable. Nil: it is not. What is to be removed is, first. Where it cannot be read now it is not made
// anew: what is there may be the only one.
func (r *Rewinds) found(dir string) (*contract.Metadata, error) {
	if r.remains.leaves(dir) {
		if err := r.remains.remove(dir); err != nil {
			return nil, fmt.Errorf("remove the state of this name that was here: %w", err)
		}
	}
	meta, err := copies.Look(r.config.FS, dir)
	if err != nil {
		return nil, err
	}
	if meta == nil {
		r.setWhole(filepath.Base(dir), false)
		return nil, nil
	}
	if err := r.config.FS.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("make the state at the fork durable: %w", err)
	}
	r.setWhole(filepath.Base(dir), true)
	return meta, nil
}

// choose returns the newest mark that leads to the fork: one at the fork itself does not if a reign had begun there
// that is given up.
func (r *Rewinds) choose(p *plan, marks []mark) (mark, error) {
	if !r.config.wanted() {
		return mark{}, fmt.Errorf("%w: this node keeps no checkpoints of its own", contract.ErrNotReady)
	}
	for _, m := range slices.Backward(marks) {
		switch {
		case m.index < p.state.Base.Index || m.position > p.fork || m.epoch > timeline.Latest(p.shared).Epoch:
		case r.tries(m) >= maxTries:
			r.config.Logger.Warn("leaves a checkpoint alone at which this process ended before", "position", m.position)
		default:
			return m, nil
		}
	}
	return mark{}, fmt.Errorf("%w: no checkpoint of this node leads to the fork at %d", contract.ErrNotReady, p.fork)
}

// State returns where the state of this name is; false if it is not here. One that cannot be read now is, if it could
// be before: a part passes for none.
func (r *Rewinds) State(id string) (dir string, ok bool) {
	if filepath.Base(id) != id {
		return "", false
	}
	dir = filepath.Join(r.config.statesDir(), id)
	if r.remains.leaves(dir) {
		return "", false
	}
	meta, err := copies.Look(r.config.FS, dir)
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return dir, r.states[id].whole
	}
	return dir, meta != nil
}

// Discard removes the state of this name, if there is one.
func (r *Rewinds) Discard(id string) {
	dir, ok := r.State(id)
	if !ok {
		return
	}
	_ = r.remains.remove(dir) // it is tried again
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.states, id)
}

// findStates takes the states that are there: an entry that is not applied yet may ask for one. The caller holds mu.
func (r *Rewinds) findStates() error {
	names, err := r.config.FS.List(r.config.statesDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("find rewound states: %w", err)
	}
	for _, name := range names {
		meta, err := copies.Look(r.config.FS, filepath.Join(r.config.statesDir(), name))
		r.states[name] = state{r.config.Log.LastIndex(), meta != nil && err == nil}
	}
	return nil
}
