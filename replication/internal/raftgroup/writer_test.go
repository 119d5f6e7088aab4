package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// bench is a writer on a bench: its neighbours note what it does, and check what is on disk when it speaks.
type bench struct {
	t       *testing.T
	disk    *vfs.MemFS
	writer  *writer
	events  []string
	refusal error // of install
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, disk: vfs.NewCrashableMem()}
	log := testLog(t, b.disk)
	b.writer = newWriter(&Config{ID: 1, Log: log}, b, b, b, compactionOf(log, &neighbour{}, 1<<20))
	return b
}

// onDisk returns the last entry, and the term, that a power cut now would leave for sure.
func (b *bench) onDisk() (last, term uint64) {
	log, err := wal.Open(wal.Options{
		FS: pebblefs.New(b.disk.CrashClone(vfs.CrashCloneCfg{})), Dir: "log", SegmentBytes: 64 << 10, Logger: quiet,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	return log.LastIndex(), log.HardState().GetTerm()
}

func (b *bench) note(format string, args ...any) {
	b.events = append(b.events, fmt.Sprintf(format, args...))
}

// said checks that what m promises is on disk.
func (b *bench) said(m *raftpb.Message) {
	last, term := b.onDisk()
	if m.GetIndex() > last || m.GetTerm() > term {
		b.t.Errorf("promises entry %d of term %d, on disk are %d of %d", m.GetIndex(), m.GetTerm(), last, term)
	}
}

func (b *bench) Send(m *raftpb.Message) {
	b.said(m)
	b.note("to %d: %d", m.GetTo(), m.GetIndex())
}

func (b *bench) deliver(messages []*raftpb.Message) {
	for _, m := range messages {
		b.said(m)
		b.note("to itself: %d", m.GetIndex())
	}
}

func (b *bench) install(_ context.Context, s *raftpb.Snapshot) error {
	b.note("install %d, log ends at %d", s.GetMetadata().GetIndex(), b.writer.log.LastIndex())
	return b.refusal
}

func (b *bench) do(tasks ...writerTask) error {
	b.t.Helper()
	b.events = nil
	err := b.writer.do(b.t.Context(), tasks)
	if err := b.writer.compaction.valid(); err != nil {
		b.t.Error(err)
	}
	return err
}

func (b *bench) expect(want ...string) {
	b.t.Helper()
	if fmt.Sprint(b.events) != fmt.Sprint(want) {
		b.t.Errorf("%q, want %q", b.events, want)
	}
}

// writes is a message to the log with one entry, whose answers go to a leader and to this node itself.
func writes(index, term uint64) writerTask {
	answer := func(to uint64) *raftpb.Message {
		return &raftpb.Message{To: new(to), Index: new(index), Term: new(term)}
	}
	return writerTask{message: &raftpb.Message{
		Term: new(term), Vote: new(uint64(0)), Commit: new(index - 1),
		Entries:   []*raftpb.Entry{{Index: new(index), Term: new(term)}},
		Responses: []*raftpb.Message{answer(2), answer(1)},
	}}
}

// restores is a message to the log with a snapshot.
func restores(index, term uint64) writerTask {
	t := writes(index, term)
	t.message.Entries = nil
	t.message.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(index), Term: new(term)}}
	return t
}

// Invariant 1: nothing that promises durability leaves before it is durable, and answers leave in order.
func TestAnswersFollowTheSync(t *testing.T) {
	b := newBench(t)
	if err := b.do(writes(2, 1), writes(3, 1), writes(4, 2)); err != nil {
		t.Fatal(err)
	}
	b.expect("to 2: 2", "to 2: 3", "to 2: 4", "to itself: 2", "to itself: 3", "to itself: 4")
	if b.writer.promises.owed {
		t.Error("still owes a sync")
	}
}

// A commit index is no promise: it is written, and synced with the next one.
func TestCommitIsNotSynced(t *testing.T) {
	b := newBench(t)
	if err := b.do(writes(2, 1)); err != nil {
		t.Fatal(err)
	}
	before := b.disk.CrashClone(vfs.CrashCloneCfg{})
	commit := &raftpb.Message{Term: new(uint64(1)), Vote: new(uint64(0)), Commit: new(uint64(2))}
	commit.Responses = []*raftpb.Message{{To: new(uint64(1)), Index: new(uint64(2)), Term: new(uint64(1))}}
	if err := b.do(writerTask{message: commit}); err != nil {
		t.Fatal(err)
	}
	b.expect("to itself: 2")
	if got := b.writer.log.HardState().GetCommit(); got != 2 {
		t.Errorf("commit is %d", got)
	}
	log, err := wal.Open(wal.Options{FS: pebblefs.New(before), Dir: "log", SegmentBytes: 64 << 10, Logger: quiet})
	if err != nil || log.LastIndex() != 2 {
		t.Errorf("the entry was not on disk before: %v", err)
	}
	log.Close()
}

// That a change of members is committed is durable at once: who was removed by it may not be there to be asked again.
func TestACommittedChangeOfMembersIsSynced(t *testing.T) {
	b := newBench(t)
	change := writes(2, 1)
	change.message.Entries[0].Type = raftpb.EntryConfChangeV2.Enum()
	commit := func(index uint64) writerTask {
		return writerTask{message: &raftpb.Message{Term: new(uint64(1)), Vote: new(uint64(0)), Commit: &index}}
	}
	for _, step := range []struct {
		task writerTask
		want uint64 // what a power cut leaves of the commit index
	}{{change, 1}, {commit(2), 2}, {writes(3, 1), 2}, {commit(3), 2}} {
		if err := b.do(step.task); err != nil {
			t.Fatal(err)
		}
		log, err := wal.Open(wal.Options{
			FS: pebblefs.New(b.disk.CrashClone(vfs.CrashCloneCfg{})), Dir: "log", SegmentBytes: 64 << 10, Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := log.HardState().GetCommit(); got != step.want {
			t.Errorf("after commit %d of %v: %d is on disk, want %d", b.writer.log.HardState().GetCommit(),
				step.task.message.GetEntries(), got, step.want)
		}
		log.Close()
	}
}

// A snapshot stands alone between the appends: what came before is in the log when the state is replaced, what came
// after stands on it.
func TestSnapshotBetweenAppends(t *testing.T) {
	b := newBench(t)
	if err := b.do(writes(2, 1), restores(9, 3), writes(10, 3), writerTask{release: 9}); err != nil {
		t.Fatal(err)
	}
	b.expect(
		"to 2: 2", "to itself: 2", "install 9, log ends at 2",
		"to 2: 9", "to itself: 9", "to 2: 10", "to itself: 10",
	)
	if first, last := b.writer.log.FirstIndex(), b.writer.log.LastIndex(); first != 10 || last != 10 {
		t.Errorf("log from %d to %d", first, last)
	}
	if commit := b.writer.log.HardState().GetCommit(); commit < 9 {
		t.Errorf("commit is %d", commit)
	}
}

// A state that was not installed leaves the log alone, and nothing is answered any more.
func TestRefusedSnapshotEndsTheWriter(t *testing.T) {
	b := newBench(t)
	b.refusal = errors.New("engine on fire")
	if err := b.do(restores(9, 3), writes(10, 3)); !errors.Is(err, b.refusal) {
		t.Errorf("goes on after %v", err)
	}
	b.expect("install 9, log ends at 1")
	if last := b.writer.log.LastIndex(); last != genesisIndex {
		t.Errorf("log ends at %d", last)
	}
}

// That a change of members is committed is durable when that is known, also of one that came with a snapshot.
func TestACommittedChangeThatCameWithASnapshotIsDurable(t *testing.T) {
	b := newBench(t)
	came := restores(9, 3)
	came.message.Commit = new(uint64(9))
	came.message.Entries = []*raftpb.Entry{
		{Index: new(uint64(10)), Term: new(uint64(3)), Type: raftpb.EntryConfChangeV2.Enum()},
	}
	committed := writerTask{message: &raftpb.Message{
		Term: new(uint64(3)), Vote: new(uint64(0)), Commit: new(uint64(10)),
	}}
	if err := errors.Join(b.do(came), b.do(committed)); err != nil {
		t.Fatal(err)
	}
	log, err := wal.Open(wal.Options{
		FS: pebblefs.New(b.disk.CrashClone(vfs.CrashCloneCfg{})), Dir: "log", SegmentBytes: 64 << 10, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if at := log.HardState().GetCommit(); at != 10 {
		t.Errorf("a power cut leaves that %d is committed, want 10", at)
	}
}

func TestPromises(t *testing.T) {
	hard := func(term, vote, commit uint64) *raftpb.Message {
		return &raftpb.Message{Term: new(term), Vote: new(vote), Commit: new(commit)}
	}
	p := promises{owed: true} // of a former life
	for i, test := range []struct {
		m    *raftpb.Message
		want bool
	}{
		{hard(1, 0, 1), true},
		{hard(1, 0, 2), false},
		{&raftpb.Message{}, false},
		{hard(1, 2, 2), true},
		{hard(2, 2, 2), true},
		{&raftpb.Message{Entries: []*raftpb.Entry{{}}}, true},
		{hard(2, 2, 9), false},
	} {
		if p.wrote(test.m); p.owed != test.want {
			t.Errorf("write %d: owed is %t", i, p.owed)
		}
		p.owed = false // synced
	}
}
