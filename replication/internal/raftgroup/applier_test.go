package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// stage is an applier on a stage: its machine and its neighbours note what it does.
type stage struct {
	t       *testing.T
	applier *applier
	events  []string
	// committed is what was noted to be.
	committed []uint64
	broken    error // of the machine
	draft     noted // of its checkpoints
	holding   func()
	holds     uint64
	ended     bool // the loop
	without   bool // a change of members leaves this node out
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, holds: 9, draft: make(noted, 1)}
	s.applier = newApplier(&Config{
		ID: 1, Machine: s, Directory: numbered("n"), Logger: quiet,
		OnLeader:   func(term uint64) { s.note("leads %d at %d", term, s.applier.Applied()) },
		OnFollower: func(term, leader uint64) { s.note("steps down for %d", leader) },
	}, s, newView(recovered{conf: &raftpb.ConfState{Voters: []uint64{1}}}), s, s)
	return s
}

func (s *stage) note(format string, args ...any) {
	s.events = append(s.events, fmt.Sprintf(format, args...))
}

func (s *stage) NoteCommitted(index, term uint64) error {
	s.committed = append(s.committed, index)
	return nil
}

func (s *stage) Apply(entries []*raftpb.Entry) error {
	for _, e := range entries {
		if n := len(s.committed); n == 0 || s.committed[n-1] < e.GetIndex() {
			s.note("not noted before")
		}
		s.note("apply %d", e.GetIndex())
	}
	return s.broken
}

func (s *stage) ApplyConf(e *raftpb.Entry, _ *raftpb.ConfChangeV2, conf *raftpb.ConfState) error {
	s.note("members %v at %d", conf.GetVoters(), e.GetIndex())
	return s.broken
}
func (s *stage) Applied() (uint64, uint64, *raftpb.ConfState) { return 0, 0, nil }
func (s *stage) Sync() (uint64, error)                        { return 0, nil }

func (s *stage) Checkpoint(dir string) (*Checkpoint, error) {
	s.note("checkpoint in %s", dir)
	if s.holding != nil {
		s.holding()
	}
	return &Checkpoint{Index: s.applier.Applied(), Term: 2, Conf: s.applier.view.conf.Load(), Draft: s.draft}, s.broken
}

// noted is a draft that tells what becomes of it.
type noted chan string

func (n noted) Write() error {
	n <- "written"
	return nil
}

func (n noted) Close() error {
	n <- "let go"
	return nil
}

func (s *stage) Install(dir string) (uint64, uint64, *raftpb.ConfState, error) {
	s.note("install from %s", dir)
	return s.holds, 2, &raftpb.ConfState{Voters: []uint64{4, 1}}, s.broken
}

func (s *stage) Inspect(string) (uint64, uint64, *raftpb.ConfState, error) {
	return s.holds, 2, &raftpb.ConfState{Voters: []uint64{4, 1}}, s.broken
}

func (s *stage) deliver(messages []*raftpb.Message) {
	for _, m := range messages {
		s.note("raft hears of %d", m.GetIndex())
	}
}

func (s *stage) applyChange(cc *raftpb.ConfChangeV2) (*raftpb.ConfState, bool) {
	conf := &raftpb.ConfState{Voters: []uint64{1}}
	if s.without {
		conf.Voters[0] = 2
	}
	for _, c := range cc.GetChanges() {
		conf.Voters = append(conf.Voters, c.GetNodeId())
	}
	return conf, !s.ended
}

func (s *stage) Dir(id []byte) string { return string(id) }
func (s *stage) Remove(id []byte)     { s.note("remove %s", id) }

// do has everything done that was handed over.
func (s *stage) do() error {
	s.events = nil
	tasks, _ := s.applier.tasks.next(nil)
	return s.applier.do(s.t.Context(), tasks)
}

func (s *stage) expect(want ...string) {
	s.t.Helper()
	if fmt.Sprint(s.events) != fmt.Sprint(want) {
		s.t.Errorf("%q, want %q", s.events, want)
	}
}

// committed is a message with normal entries of term 2, whose answer names the last.
func committed(indexes ...uint64) *raftpb.Message {
	m := &raftpb.Message{}
	for _, index := range indexes {
		m.Entries = append(m.Entries, &raftpb.Entry{Index: new(index), Term: new(uint64(2))})
	}
	m.Responses = []*raftpb.Message{{Index: new(indexes[len(indexes)-1])}}
	return m
}

// adds is an entry of term 2 that makes another a voter.
func adds(t *testing.T, index, id uint64) *raftpb.Entry {
	data, err := proto.Marshal(&raftpb.ConfChangeV2{
		Changes: []*raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(id)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &raftpb.Entry{Index: new(index), Term: new(uint64(2)), Type: raftpb.EntryConfChangeV2.Enum(), Data: data}
}

// Everything happens in the order in which it was handed over, and raft hears of what is applied, not before.
func TestApplierKeepsOrder(t *testing.T) {
	s := newStage(t)
	s.applier.changeRole(role{term: 2, leading: true})
	s.applier.apply(committed(2, 3))
	change := committed(4, 6)
	change.Entries = append(change.Entries[:1], adds(t, 5, 7), change.Entries[1])
	s.applier.apply(change)
	s.applier.changeRole(role{term: 3, leader: 7})
	s.applier.apply(committed(7))
	if err := s.do(); err != nil {
		t.Fatal(err)
	}
	s.expect(
		"apply 2", "apply 3", "apply 4", "leads 2 at 4", "members [1 7] at 5", "apply 6",
		"raft hears of 3", "raft hears of 6",
		"steps down for 7",
		"apply 7", "raft hears of 7",
	)
	if s.applier.Applied() != 7 || len(s.applier.view.conf.Load().GetVoters()) != 2 {
		t.Errorf("shows %+v", s.applier.view.status())
	}
}

// A machine that fails ends the applier: nothing after it is applied, and raft hears of nothing.
func TestMachineFailureEndsTheApplier(t *testing.T) {
	s := newStage(t)
	s.broken = errors.New("engine on fire")
	s.applier.apply(committed(2))
	s.applier.changeRole(role{})
	s.applier.apply(committed(3))
	if err := s.do(); !errors.Is(err, ErrMachine) || !errors.Is(err, s.broken) {
		t.Error(err)
	}
	s.expect("apply 2")
	if s.applier.Applied() != 0 {
		t.Errorf("shows %d as applied", s.applier.Applied())
	}
}

// The end of the loop, while the applier waits for it, is told as what it is.
func TestChangeAtTheEnd(t *testing.T) {
	s := newStage(t)
	s.ended = true
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInvariant)
	if err := s.applier.applyChange(ctx, adds(t, 2, 7)); !errors.Is(err, ErrInvariant) {
		t.Error(err)
	}
}

// request runs a request of another goroutine, which the applier finds behind entry 2, and returns what came of it.
func (s *stage) request(f func(ctx context.Context) error) (applier, requester error) {
	ctx, cancel := context.WithCancelCause(s.t.Context())
	s.applier.apply(committed(2))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	for queued := 0; queued < 2; {
		s.applier.tasks.mu.Lock()
		queued = len(s.applier.tasks.items)
		s.applier.tasks.mu.Unlock()
	}
	applier = s.do()
	if applier != nil {
		cancel(ErrStopped) // as its end does
	}
	requester = <-done
	cancel(nil)
	return applier, requester
}

func TestCheckpointBetweenEntries(t *testing.T) {
	s := newStage(t)
	var meta *raftpb.SnapshotMetadata
	checkpoint := func(ctx context.Context) (err error) {
		meta, err = s.applier.Checkpoint(ctx, "here")
		return err
	}
	if ours, theirs := s.request(checkpoint); ours != nil || theirs != nil {
		t.Fatal(ours, theirs)
	}
	s.expect("apply 2", "raft hears of 2", "checkpoint in here")
	if meta.GetIndex() != 2 || meta.GetTerm() != 2 || len(meta.GetConfState().GetVoters()) != 1 {
		t.Errorf("made %v", meta)
	}
	if got := <-s.draft; got != "written" {
		t.Errorf("the state was %s", got)
	}
	// It is of another's want: that it fails stops nobody.
	full := errors.New("no space left")
	refused := &checkpointRequest{ctx: t.Context(), dir: "there", done: make(chan made)}
	s.applier.tasks.push(applierTask{checkpoint: refused})
	s.broken = full
	failed := make(chan error, 1)
	go func() { failed <- (<-refused.done).err }()
	if err := s.do(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, full) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrStopped)
	if _, err := s.applier.Checkpoint(ctx, "nowhere"); !errors.Is(err, ErrStopped) {
		t.Error(err)
	}
}

// A state that nobody waits for any more is let go.
func TestCheckpointForNobody(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := &checkpointRequest{ctx: ctx, dir: "here", done: make(chan made)}
	s.holding = cancel // it goes while the machine takes hold
	s.applier.checkpoint(r)
	if got := <-s.draft; got != "let go" {
		t.Errorf("the state was %s", got)
	}
	s.applier.checkpoint(r) // and whoever has gone before gets none
	s.expect("checkpoint in here")
}

func TestInstall(t *testing.T) {
	snapshot := &raftpb.Snapshot{
		Data: []byte("id"), Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(9)), Term: new(uint64(2))},
	}
	s := newStage(t)
	install := func(ctx context.Context) error { return s.applier.install(ctx, snapshot) }
	wait := &memberWait{index: 3, term: 2, reply: make(chan error, 1)}
	s.applier.waits.add(wait)
	if ours, theirs := s.request(install); ours != nil || theirs != nil {
		t.Fatal(ours, theirs)
	}
	s.expect("apply 2", "raft hears of 2", "install from id", "remove id")
	if v := s.applier.view.status(); v.Applied != 9 || v.Conf.GetVoters()[0] != 4 {
		t.Errorf("shows %+v", v)
	}
	if err := <-wait.reply; !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("a change that the state may have: %v", err)
	}
	// A state that is not what its leader said: the log must not stand on it.
	s = newStage(t)
	s.holds = 8
	if ours, theirs := s.request(install); !errors.Is(ours, ErrMachine) || !errors.Is(theirs, ErrStopped) {
		t.Errorf("took another state: %v, %v", ours, theirs)
	}
	if s.applier.Applied() != 2 {
		t.Errorf("shows %d as applied", s.applier.Applied())
	}
}

// A checkpoint that is damaged is removed as the group ends: what the next life begins with is what comes then.
func TestADamagedCheckpointIsRemoved(t *testing.T) {
	snapshot := &raftpb.Snapshot{
		Data: []byte("id"), Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(9)), Term: new(uint64(2))},
	}
	s := newStage(t)
	s.broken = ErrSpoiled
	s.applier.tasks.push(applierTask{install: &installRequest{snapshot: snapshot, done: make(chan struct{})}})
	if err := s.do(); !errors.Is(err, ErrMachine) || !errors.Is(err, ErrSpoiled) {
		t.Error(err)
	}
	s.expect("install from id", "remove id")
	s.broken = errors.New("engine on fire") // which says nothing of the checkpoint
	s.applier.tasks.push(applierTask{install: &installRequest{snapshot: snapshot, done: make(chan struct{})}})
	if err := s.do(); !errors.Is(err, s.broken) {
		t.Error(err)
	}
	s.expect("install from id")
}

// A node that is no member any more ends; but not before it has applied everything that is known to be committed, which
// may let it in again, and the others had the time to learn that it is so.
func TestANodeThatWasRemovedEnds(t *testing.T) {
	const self, electionTicks = 1, 10
	s := newStage(t)
	var l leaving
	step := func(index, commit uint64, without bool) (ticks int, err error) {
		t.Helper()
		m := committed(index)
		m.Entries[0] = adds(t, index, 7)
		s.without = without
		s.applier.view.commit.Store(commit)
		s.applier.apply(m)
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		for ; ticks < 2*stayElections*electionTicks && err == nil; ticks++ {
			err = l.tick(s.applier.view, self, electionTicks)
		}
		return ticks, err
	}
	if _, err := step(4, 5, true); err != nil {
		t.Fatalf("ended before it knew: %v", err)
	}
	if _, err := step(5, 5, false); err != nil {
		t.Fatalf("ended although it is a member: %v", err)
	}
	if ticks, err := step(6, 6, true); !errors.Is(err, ErrRemoved) || ticks < 2*electionTicks {
		t.Fatalf("removed, and after %d ticks: %v", ticks, err)
	}
}
