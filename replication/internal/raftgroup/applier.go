package raftgroup

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// applierTask is one of: committed entries, a change of role, a wait for a membership change, a checkpoint to make, one to install.
type applierTask struct {
	message    *raftpb.Message
	role       *role
	member     *memberWait
	checkpoint *checkpointRequest
	install    *installRequest
}

// role is what this node is in a term.
type role struct {
	term    uint64
	leader  uint64
	leading bool
}

type installRequest struct {
	snapshot *raftpb.Snapshot
	done     chan struct{}
}

// applier is the only one that changes the machine. It applies everything that waits in one go.
type applier struct {
	g       *Group
	queue   *queue[applierTask]
	entries []*raftpb.Entry   // collects the normal entries of several messages
	replies []*raftpb.Message // to the loop
	members []*memberWait

	leads     uint64 // the term that this node leads, 0 if none
	announced bool
}

func newApplier(g *Group) *applier { return &applier{g: g, queue: newQueue[applierTask]()} }

func (a *applier) run() {
	for {
		tasks, ok := a.queue.next(a.g.context.Done())
		if !ok {
			return
		}
		if err := a.do(tasks); err != nil {
			a.g.fatal(err)
			return
		}
	}
}

func (a *applier) do(tasks []applierTask) error {
	for len(tasks) > 0 {
		run := 0
		for run < len(tasks) && tasks[run].message != nil {
			run++
		}
		if run > 0 {
			if err := a.apply(tasks[:run]); err != nil {
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
		a.changeRole(t.role)
	case t.member != nil:
		a.members = append(a.members, t.member)
	case t.checkpoint != nil:
		t.checkpoint.make(a.g)
	case t.install != nil:
		return a.installNow(t.install)
	}
	return nil
}

// apply hands the entries of several messages to the machine and reports them to raft.
func (a *applier) apply(tasks []applierTask) error {
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
			if err := a.applyChange(e); err != nil {
				return err
			}
		}
		a.replies = append(a.replies, t.message.GetResponses()...)
	}
	if err := a.applyCollected(); err != nil {
		return err
	}
	a.g.mail.deliver(a.replies)
	return nil
}

func (a *applier) applyCollected() error {
	if len(a.entries) == 0 {
		return nil
	}
	if err := a.g.config.Machine.Apply(a.entries); err != nil {
		return fmt.Errorf("%w: apply at %d: %w", ErrMachine, a.entries[0].GetIndex(), err)
	}
	a.applied(a.entries...)
	a.entries = emptied(a.entries)
	return nil
}

// applyChange applies a membership change. The loop takes it into raft, while this goroutine waits.
func (a *applier) applyChange(e *raftpb.Entry) error {
	cc, err := decodeChange(e)
	if err != nil {
		return err
	}
	var conf *raftpb.ConfState
	if !a.g.onLoop(func() { conf = a.g.loop.applyChange(cc) }) {
		return a.g.stopped()
	}
	if err := a.g.config.Machine.ApplyConf(e, cc, conf); err != nil {
		return fmt.Errorf("%w: membership change at %d: %w", ErrMachine, e.GetIndex(), err)
	}
	a.g.view.conf.Store(conf)
	a.g.log.Info("members", "index", e.GetIndex(), "voters", conf.GetVoters(), "learners", conf.GetLearners(), "leaving", conf.GetVotersOutgoing())
	a.applied(e)
	return nil
}

// applied publishes progress, answers who waits for a change, and announces leadership once all of the log before it is applied.
func (a *applier) applied(entries ...*raftpb.Entry) {
	last := entries[len(entries)-1]
	a.g.view.applied.Store(last.GetIndex())
	if len(a.members) > 0 {
		for _, e := range entries {
			a.answerMembers(e)
		}
	}
	if a.leads != 0 && !a.announced && last.GetTerm() == a.leads {
		a.announced = true
		if a.g.config.OnLeader != nil {
			a.g.config.OnLeader(a.leads)
		}
	}
}

// answerMembers tells the waiting what became of their changes now that e is applied.
func (a *applier) answerMembers(e *raftpb.Entry) {
	left := len(a.g.view.conf.Load().GetVotersOutgoing()) == 0
	waiting := a.members[:0]
	for _, w := range a.members {
		switch {
		case w.joint && left:
			w.reply <- nil
		case w.index != e.GetIndex():
			waiting = append(waiting, w)
		case w.term != e.GetTerm():
			w.reply <- fmt.Errorf("%w: another leader overwrote the change", ErrNotLeader)
		case left:
			w.reply <- nil
		default:
			w.joint = true
			waiting = append(waiting, w)
		}
	}
	clear(a.members[len(waiting):])
	a.members = waiting
}

func (a *applier) changeRole(r *role) {
	if r.leading {
		a.leads, a.announced = r.term, false
		return
	}
	a.leads = 0
	if a.g.config.OnFollower != nil {
		a.g.config.OnFollower(r.term, r.leader)
	}
}

// install has the applier install a checkpoint, after everything committed before, and waits; false if the group ended first.
func (a *applier) install(s *raftpb.Snapshot) bool {
	r := &installRequest{snapshot: s, done: make(chan struct{})}
	a.queue.push(applierTask{install: r})
	select {
	case <-r.done:
		return true
	case <-a.g.context.Done():
		return false
	}
}

func (a *applier) installNow(r *installRequest) error {
	want := r.snapshot.GetMetadata()
	dir := a.g.incoming.dir(r.snapshot.GetData())
	index, term, conf, err := a.g.config.Machine.Install(dir)
	if err != nil {
		return fmt.Errorf("%w: installing the checkpoint at %d: %w", ErrMachine, want.GetIndex(), err)
	}
	if index != want.GetIndex() || term != want.GetTerm() {
		return fmt.Errorf("%w: checkpoint holds entry %d of term %d, its leader said %d of %d", ErrMachine, index, term, want.GetIndex(), want.GetTerm())
	}
	a.g.view.applied.Store(index)
	a.g.view.conf.Store(conf)
	a.g.incoming.release(r.snapshot.GetData())
	for _, w := range a.members {
		w.reply <- fmt.Errorf("%w: this node was given a newer state", ErrUnknownOutcome)
	}
	a.members = emptied(a.members)
	a.g.log.Info("checkpoint installed", "index", index, "term", term)
	close(r.done)
	return nil
}
