package raftgroup

import (
	"context"
	"fmt"
	"sync/atomic"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// entryOverhead is what an entry costs in the log beside its payload, nearly.
const entryOverhead = 64

// writerTask is one of: a message to the log, an index up to which log may be released.
type writerTask struct {
	message *raftpb.Message
	release uint64
}

// writer is the only one that changes the log. It appends everything that waits with one sync.
//
//  1. An answer that promises durability leaves after the sync behind it returned (invariant 1 of the package), and
//     answers leave in the order of the messages that held them back.
//  2. Tasks are done in order: what came before a snapshot is in the log before it, what came after stands on it.
//  3. An error ends the writer; nothing is answered any more. That the disk is full is none: the writer waits until it
//     is not, and what waits behind it is not answered before.
//
// append, release and writing may be called from any goroutine, everything else is the writer's own.
type writer struct {
	self    uint64
	log     *wal.Log
	tasks   *queue[writerTask]
	state   installer
	peers   messenger
	answers answers

	compaction compaction
	promises   promises
	room       *Room
	writes     []wal.Write       // of the append under way
	local      []*raftpb.Message // answers to this node's own raft
	begun      uint64            // number of the last write
	under      atomic.Uint64     // number of the write under way, 0 if there is none
}

// installer replaces the state by a received checkpoint, after everything committed before it, and returns once that is
// durable.
type installer interface {
	install(ctx context.Context, s *raftpb.Snapshot) error
}

// messenger takes messages to other members. It never blocks.
type messenger interface{ Send(m *raftpb.Message) }

// answers takes messages of this node's threads to its raft. It never blocks.
type answers interface {
	deliver(messages []*raftpb.Message)
}

// newWriter returns a writer that has compaction decide what is released.
func newWriter(c *Config, state installer, peers messenger, answers answers, compaction compaction) *writer {
	return &writer{
		self: c.ID, log: c.Log, tasks: newQueue[writerTask](), state: state, peers: peers, answers: answers,
		compaction: compaction, promises: formerPromises(c.Log.LastIndex()),
		room: newLogRoom(c.Clock, c.Logger),
	}
}

// append takes a message of raft to its log.
func (w *writer) append(m *raftpb.Message) { w.tasks.push(writerTask{message: m}) }

// release takes an index up to which the log is not needed any more.
func (w *writer) release(index uint64) { w.tasks.push(writerTask{release: index}) }

// writing returns the number of the write of the log that is under way, 0 if there is none.
func (w *writer) writing() uint64 { return w.under.Load() }

// toDisk does what waits for the log's disk.
func (w *writer) toDisk(write func() error) error {
	w.begun++
	w.under.Store(w.begun)
	defer w.under.Store(0)
	err := write()
	if err == nil {
		w.room.Found()
	}
	return err
}

func (w *writer) run(ctx context.Context) error {
	wal.WaitForRoom(w.log, func(err error) bool { return w.room.Await(ctx, err) })
	defer wal.WaitForRoom(w.log, nil)
	for {
		tasks, ok := w.tasks.next(ctx.Done())
		if !ok {
			return nil
		}
		if err := w.do(ctx, tasks); err != nil {
			return err
		}
	}
}

// do handles tasks in order. A snapshot and a release stand alone between the appends.
func (w *writer) do(ctx context.Context, tasks []writerTask) error {
	first := 0
	for i, t := range tasks {
		if t.message != nil && t.message.GetSnapshot() == nil {
			continue
		}
		if err := w.write(tasks[first:i]); err != nil {
			return err
		}
		first = i + 1
		if t.message != nil {
			if err := w.restore(ctx, t.message); err != nil {
				return err
			}
		} else if err := w.toDisk(func() error { return w.log.Compact(t.release) }); err != nil {
			return fmt.Errorf("releasing log up to %d: %w", t.release, err)
		}
	}
	return w.write(tasks[first:])
}

// write appends all messages with one sync, none if no answer needs it, and then lets out the answers.
func (w *writer) write(tasks []writerTask) error {
	if len(tasks) == 0 {
		return nil
	}
	answers := false
	var bytes int64
	w.writes = emptied(w.writes)
	for _, t := range tasks {
		w.writes = append(w.writes, wal.Write{HardState: hardState(t.message), Entries: t.message.GetEntries()})
		answers = answers || len(t.message.GetResponses()) > 0
		w.promises.wrote(t.message)
		for _, e := range t.message.GetEntries() {
			bytes += int64(len(e.GetData())) + entryOverhead
		}
	}
	sync := answers && w.promises.owed || w.promises.settled
	if err := w.toDisk(func() error { return w.log.Append(w.writes, sync) }); err != nil {
		return err
	}
	if sync {
		w.promises.synced()
	}
	for _, t := range tasks {
		w.respond(t.message)
	}
	w.flush()
	w.compaction.wrote(bytes, w)
	return nil
}

// restore replaces state and log by a checkpoint that has been received: the state first, so that a crash between the
// two leaves a state ahead of its log, which recovery understands.
func (w *writer) restore(ctx context.Context, m *raftpb.Message) error {
	meta := m.GetSnapshot().GetMetadata()
	if err := w.state.install(ctx, m.GetSnapshot()); err != nil {
		return err
	}
	hard := hardState(m)
	if hard == nil {
		hard = w.log.HardState()
	}
	err := w.toDisk(func() error {
		return w.log.Reset(meta.GetIndex(), meta.GetTerm(), raised(hard, 0, meta.GetIndex()))
	})
	if err != nil {
		return fmt.Errorf("log after the checkpoint at %d: %w", meta.GetIndex(), err)
	}
	w.compaction.restart(meta.GetIndex())
	w.promises = formerPromises(0)
	if len(m.GetEntries()) > 0 {
		w.promises.wrote(m)
		entries := []wal.Write{{Entries: m.GetEntries()}}
		if err := w.toDisk(func() error { return w.log.Append(entries, true) }); err != nil {
			return err
		}
		w.promises.synced()
	}
	w.respond(m)
	w.flush()
	return nil
}

// respond sends what a message held back until it was durable.
func (w *writer) respond(m *raftpb.Message) {
	for _, r := range m.GetResponses() {
		if r.GetTo() == w.self {
			w.local = append(w.local, r)
		} else {
			w.peers.Send(r)
		}
	}
}

func (w *writer) flush() {
	if len(w.local) > 0 {
		w.answers.deliver(w.local)
		w.local = emptied(w.local)
	}
}
