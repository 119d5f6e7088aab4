package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/snapshots"
)

// applierTask is one of: committed entries, a change of role, a wait for a membership change, a checkpoint to make, one
// to install.
type applierTask struct {
	message    *raftpb.Message
	role       *role
	change     *memberWait
	checkpoint *checkpointRequest
	install    *installRequest
}

// checkpointRequest is answered before anything that came after it is applied, unless ctx ends first.
type checkpointRequest struct {
	ctx  context.Context
	dir  string
	done chan made // without room: what is sent is taken
}

// made is a state that the machine holds on to, or why it does not.
type made struct {
	checkpoint *Checkpoint
	err        error
}

type installRequest struct {
	snapshot *raftpb.Snapshot
	done     chan struct{}
}

// applier is the only one that changes the machine. It applies everything that waits in one go.
//
//  1. The machine sees tasks in the order in which they were handed over, and entries in the order of the log, each
//     once.
//  2. What the view shows as applied, the machine has; who waits for an entry is told after that, and so is the owner
//     of the group of his leadership.
//  3. raft hears of entries only once they are applied.
//  4. That an entry is committed is noted before it is applied and shown: killed and started again, this node shows it
//     also if nobody tells it that.
//  5. An error ends the applier; the node stops.
//
// apply, changeRole, awaitChange, Checkpoint and install may be called from any goroutine, everything else is the
// applier's own.
type applier struct {
	machine   Machine
	notes     notes
	view      *view
	raft      changes
	staged    staged
	tasks     *queue[applierTask]
	log       *slog.Logger
	directory peers.Directory // for the log

	begun   uint64            // steps of the machine
	under   atomic.Uint64     // the one under way, 0 if there is none
	entries []*raftpb.Entry   // collects the normal entries of several messages
	replies []*raftpb.Message // to raft
	waits   memberWaits
	role    leadership
}

// notes is where it is noted that the log is committed up to an entry.
type notes interface {
	NoteCommitted(index, term uint64) error
}

// changes is raft, as the applier needs it.
type changes interface {
	answers
	// applyChange lets raft take a committed membership change, and returns the members that follow from it; false if
	// the group has ended. It waits for the loop.
	applyChange(cc *raftpb.ConfChangeV2) (*raftpb.ConfState, bool)
}

// staged is where received checkpoints are.
type staged interface {
	Dir(id []byte) string
	Remove(id []byte)
}

var _ snapshots.State = (*applier)(nil)

func newApplier(c *Config, notes notes, v *view, raft changes, staged staged) *applier {
	return &applier{
		machine: c.Machine, notes: notes, view: v, raft: raft, staged: staged, tasks: newQueue[applierTask](),
		log:       c.Logger,
		directory: c.Directory,
		role:      leadership{onLeader: c.OnLeader, onFollower: c.OnFollower},
	}
}

// apply takes committed entries.
func (a *applier) apply(m *raftpb.Message) { a.tasks.push(applierTask{message: m}) }

// changeRole takes what this node has become, in order with the entries.
func (a *applier) changeRole(r role) { a.tasks.push(applierTask{role: &r}) }

// awaitChange takes somebody who waits for a membership change that is in the log.
func (a *applier) awaitChange(w *memberWait) { a.tasks.push(applierTask{change: w}) }

// applying returns the number of the step of the machine that is under way, 0 if there is none.
func (a *applier) applying() uint64 { return a.under.Load() }

// step has the machine take one step.
func (a *applier) step(take func() error) error {
	a.begun++
	a.under.Store(a.begun)
	defer a.under.Store(0)
	return take()
}

// Applied returns the last entry that the machine has.
func (a *applier) Applied() uint64 { return a.view.applied.Load() }

// Checkpoint makes the new directory dir hold a copy of the state, as it is when everything handed over before is
// applied. The copy is written on the caller's goroutine, while applying goes on.
func (a *applier) Checkpoint(ctx context.Context, dir string) (*raftpb.SnapshotMetadata, error) {
	r := &checkpointRequest{ctx: ctx, dir: dir, done: make(chan made)}
	a.tasks.push(applierTask{checkpoint: r})
	var m made
	select {
	case m = <-r.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if m.err == nil {
		m.err = m.checkpoint.Draft.Write()
	}
	if m.err != nil {
		return nil, fmt.Errorf("%w: checkpoint: %w", ErrMachine, m.err)
	}
	c := m.checkpoint
	return &raftpb.SnapshotMetadata{Index: &c.Index, Term: &c.Term, ConfState: c.Conf}, nil
}

// install replaces the state by the received checkpoint of s, once everything handed over before is applied, and
// returns when that is durable. An error of the machine ends the applier, and with it ctx.
func (a *applier) install(ctx context.Context, s *raftpb.Snapshot) error {
	r := &installRequest{snapshot: s, done: make(chan struct{})}
	a.tasks.push(applierTask{install: r})
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *applier) run(ctx context.Context) error {
	for {
		tasks, ok := a.tasks.next(ctx.Done())
		if !ok {
			return nil
		}
		if err := a.do(ctx, tasks); err != nil {
			return err
		}
	}
}

// do handles tasks in order; committed entries that follow each other in one go.
func (a *applier) do(ctx context.Context, tasks []applierTask) error {
	for len(tasks) > 0 {
		run := 0
		for run < len(tasks) && tasks[run].message != nil {
			run++
		}
		if run > 0 {
			if err := a.applyAll(ctx, tasks[:run]); err != nil {
				return err
			}
			tasks = tasks[run:]
			continue
		}
		if err := a.other(&tasks[0]); err != nil {
			return err
		}
		tasks = tasks[1:]
	}
	return nil
}

func (a *applier) other(t *applierTask) error {
	switch {
	case t.role != nil:
		a.role.change(*t.role)
	case t.change != nil:
		a.waits.add(t.change)
	case t.checkpoint != nil:
		a.checkpoint(t.checkpoint)
	case t.install != nil:
		return a.replace(t.install)
	}
	return nil
}

// applyAll hands the entries of several messages to the machine and reports them to raft.
func (a *applier) applyAll(ctx context.Context, tasks []applierTask) error {
	a.entries = emptied(a.entries)
	a.replies = emptied(a.replies)
	for _, t := range tasks {
		for _, e := range t.message.GetEntries() {
			if e.GetType() == raftpb.EntryNormal {
				a.entries = append(a.entries, e)
				continue
			}
			if err := a.applyCollected(); err != nil {
				return err
			}
			if err := a.applyChange(ctx, e); err != nil {
				return err
			}
		}
		a.replies = append(a.replies, t.message.GetResponses()...)
	}
	if err := a.applyCollected(); err != nil {
		return err
	}
	a.raft.deliver(a.replies)
	a.waits.tell()
	return nil
}

func (a *applier) applyCollected() error {
	if len(a.entries) == 0 {
		return nil
	}
	if err := a.note(a.entries[len(a.entries)-1]); err != nil {
		return err
	}
	if err := a.step(func() error { return a.machine.Apply(a.entries) }); err != nil {
		return fmt.Errorf("%w: apply at %d: %w", ErrMachine, a.entries[0].GetIndex(), err)
	}
	a.applied(a.entries...)
	a.entries = emptied(a.entries)
	return nil
}

// note notes what is about to be shown. On a full disk it is not noted: less is known after a start then, until the
// others tell it.
func (a *applier) note(e *raftpb.Entry) error {
	if err := a.notes.NoteCommitted(e.GetIndex(), e.GetTerm()); !durable.Full(err) {
		return err
	}
	return nil
}

// names returns what the log calls members.
func (a *applier) names(ids []uint64) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = peers.NameIn(a.directory, id)
	}
	return names
}

// applyChange applies a membership change. The loop takes it into raft, while this goroutine waits.
func (a *applier) applyChange(ctx context.Context, e *raftpb.Entry) error {
	cc, err := decodeChange(e)
	if err != nil {
		return err
	}
	conf, ok := a.raft.applyChange(cc)
	if !ok {
		<-ctx.Done() // whatever ended the loop is about to end the group, and says why
		return context.Cause(ctx)
	}
	if err := a.note(e); err != nil {
		return err
	}
	if err := a.step(func() error { return a.machine.ApplyConf(e, cc, conf) }); err != nil {
		return fmt.Errorf("%w: membership change at %d: %w", ErrMachine, e.GetIndex(), err)
	}
	a.view.conf.Store(conf)
	a.view.changes.Add(1) // after what it counts
	a.log.Info("members", "index", e.GetIndex(), "voters", a.names(conf.GetVoters()),
		"learners", a.names(conf.GetLearners()), "leaving", a.names(conf.GetVotersOutgoing()))
	a.applied(e)
	return nil
}

// applied publishes progress, notes what becomes of changes that somebody waits for, and announces leadership once all
// of the log before it is applied.
func (a *applier) applied(entries ...*raftpb.Entry) {
	last := entries[len(entries)-1]
	a.view.applied.Store(last.GetIndex())
	a.waits.applied(entries, a.view.conf.Load())
	a.role.applied(last.GetTerm())
}

// checkpoint takes hold of the state as it is now, for whoever waits for it.
func (a *applier) checkpoint(r *checkpointRequest) {
	if r.ctx.Err() != nil {
		return
	}
	c, err := a.machine.Checkpoint(r.dir)
	select {
	case r.done <- made{checkpoint: c, err: err}:
	case <-r.ctx.Done():
		if err != nil {
			return
		}
		if err := c.Draft.Close(); err != nil {
			a.log.Warn("letting go of a state", "err", err)
		}
	}
}

// replace installs a checkpoint, which must be what its leader said: the log will stand on it. One that is damaged is
// removed: the next life of this node must not find it and count on what it has of it.
func (a *applier) replace(r *installRequest) error {
	id, want := r.snapshot.GetData(), r.snapshot.GetMetadata()
	index, term, conf, err := a.machine.Install(a.staged.Dir(id))
	if errors.Is(err, ErrSpoiled) {
		a.staged.Remove(id)
	}
	if err != nil {
		return fmt.Errorf("%w: installing the checkpoint at %d: %w", ErrMachine, want.GetIndex(), err)
	}
	if index != want.GetIndex() || term != want.GetTerm() {
		return fmt.Errorf("%w: checkpoint holds entry %d of term %d, its leader said %d of %d",
			ErrMachine, index, term, want.GetIndex(), want.GetTerm())
	}
	a.view.applied.Store(index)
	a.view.conf.Store(conf)
	a.staged.Remove(id)
	a.waits.abandon()
	a.log.Info("checkpoint installed", "index", index, "term", term)
	close(r.done)
	return nil
}
