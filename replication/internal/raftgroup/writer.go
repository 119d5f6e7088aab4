package raftgroup

import (
	"fmt"

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
type writer struct {
	g          *Group
	queue      *queue[writerTask]
	writes     []wal.Write
	local      []*raftpb.Message
	compaction compaction
	promises   promises
}

// promises tells whether what is written has to be durable before raft's answers go out: entries, term and vote have, the commit index
// has not, which a restarted member learns again from its leader. So a message that only moves the commit index costs no sync.
type promises struct {
	term, vote uint64 // as last written
	owed       bool   // something of them was written since the last sync
}

// wrote notes what is about to be written.
func (p *promises) wrote(m *raftpb.Message) {
	p.owed = p.owed || len(m.GetEntries()) > 0
	if hard := hardState(m); hard != nil && (hard.GetTerm() != p.term || hard.GetVote() != p.vote) {
		p.term, p.vote, p.owed = hard.GetTerm(), hard.GetVote(), true
	}
}

func newWriter(g *Group) *writer {
	// Whatever a former life has written and not synced is owed.
	return &writer{
		g: g, queue: newQueue[writerTask](), compaction: newCompaction(g.config.Log.LastIndex()), promises: promises{owed: true},
	}
}

func (w *writer) run() {
	for {
		tasks, ok := w.queue.next(w.g.context.Done())
		if !ok {
			return
		}
		if err := w.do(tasks); err != nil {
			w.g.fatal(err)
			return
		}
	}
}

// do handles tasks in order. A snapshot and a release stand alone between the appends.
func (w *writer) do(tasks []writerTask) error {
	first := 0
	for i, t := range tasks {
		if t.message != nil && t.message.GetSnapshot() == nil {
			continue
		}
		if err := w.append(tasks[first:i]); err != nil {
			return err
		}
		first = i + 1
		if t.message != nil {
			if err := w.restore(t.message); err != nil {
				return err
			}
		} else if err := w.g.config.Log.Compact(t.release); err != nil {
			return fmt.Errorf("releasing log up to %d: %w", t.release, err)
		}
	}
	return w.append(tasks[first:])
}

// append writes all messages with one sync, none if no answer needs it, and then lets out the answers.
func (w *writer) append(tasks []writerTask) error {
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
	sync := answers && w.promises.owed
	if err := w.g.config.Log.Append(w.writes, sync); err != nil {
		return err
	}
	if sync {
		w.promises.owed = false
	}
	for _, t := range tasks {
		w.respond(t.message)
	}
	w.flush()
	w.compaction.wrote(w.g, bytes)
	return nil
}

// restore replaces state and log by a checkpoint that has been received: the state first, so that a crash between the two leaves a
// state ahead of its log, which recovery understands.
func (w *writer) restore(m *raftpb.Message) error {
	meta := m.GetSnapshot().GetMetadata()
	if !w.g.applier.install(m.GetSnapshot()) {
		return w.g.stopped()
	}
	hard := hardState(m)
	if hard == nil {
		hard = w.g.config.Log.HardState()
	}
	if err := w.g.config.Log.Reset(meta.GetIndex(), meta.GetTerm(), raised(hard, 0, meta.GetIndex())); err != nil {
		return err
	}
	w.compaction = newCompaction(meta.GetIndex())
	w.promises = promises{owed: true}
	if len(m.GetEntries()) > 0 {
		if err := w.g.config.Log.Append([]wal.Write{{Entries: m.GetEntries()}}, true); err != nil {
			return err
		}
	}
	w.respond(m)
	w.flush()
	return nil
}

// respond sends what a message held back until it was durable.
func (w *writer) respond(m *raftpb.Message) {
	for _, r := range m.GetResponses() {
		if r.GetTo() == w.g.config.ID {
			w.local = append(w.local, r)
		} else {
			w.g.network.send(r)
		}
	}
}

func (w *writer) flush() {
	if len(w.local) > 0 {
		w.g.mail.deliver(w.local)
		w.local = emptied(w.local)
	}
}

// hardState returns the hard state that a message carries, nil if none.
func hardState(m *raftpb.Message) *raftpb.HardState {
	if m.Term == nil && m.Vote == nil && m.Commit == nil {
		return nil
	}
	return &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
}
