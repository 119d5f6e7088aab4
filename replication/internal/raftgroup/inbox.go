package raftgroup

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/snapshots"
)

// What the other parts of a group may tell and ask the loop: each sees of the mailbox the interface that it names
// itself.
var (
	_ peers.Inbox     = (*mailbox)(nil)
	_ snapshots.Inbox = (*mailbox)(nil)
	_ snapshots.Raft  = (*mailbox)(nil)
	_ answers         = (*mailbox)(nil)
	_ changes         = (*mailbox)(nil)
	_ followers       = (*mailbox)(nil)
)

// Receive hands over messages of a peer, and blocks while too many wait; false if the group has ended.
func (m *mailbox) Receive(messages []*raftpb.Message, bytes int) bool {
	m.mu.Lock()
	for !m.closed && m.waiting.bytes > maxReceivedBytes {
		m.space.Wait()
	}
	ok := !m.closed
	if ok {
		m.waiting.received = append(m.waiting.received, messages...)
		m.waiting.bytes += bytes
	}
	m.mu.Unlock()
	if ok {
		m.ring()
	}
	return ok
}

// ReportUnreachable tells raft that messages to a member were lost.
func (m *mailbox) ReportUnreachable(id uint64) {
	m.call(func(l *loop) {
		l.broke[id] = l.clock.Now()
		l.node.ReportUnreachable(id)
	})
}

// ReportSnapshot tells raft how a checkpoint fared on its way to a member.
func (m *mailbox) ReportSnapshot(to uint64, status raft.SnapshotStatus) {
	m.call(func(l *loop) { l.node.ReportSnapshot(to, status) })
}

// deliver hands over messages of this node's own threads. The slice stays the caller's.
func (m *mailbox) deliver(messages []*raftpb.Message) {
	m.post(func(w *work) { w.local = append(w.local, messages...) })
}

// applyChange lets raft take a committed membership change and returns the members that follow from it; false if the
// group ended.
func (m *mailbox) applyChange(cc *raftpb.ConfChangeV2) (conf *raftpb.ConfState, ok bool) {
	ok = m.do(func(l *loop) { conf = l.applyChange(cc) })
	return conf, ok
}

// slowestMatch returns the lowest index that all live members are known to have; false if the group ended.
func (m *mailbox) slowestMatch() (index uint64, ok bool) {
	ok = m.do(func(l *loop) { index = l.slowestMatch() })
	return index, ok
}

// submit hands over a proposal and waits until raft took or refused it; false if the group ended, and then nobody
// knows.
func (m *mailbox) submit(p *proposal) (proposed, bool) {
	if !m.post(func(w *work) { w.proposals = append(w.proposals, p) }) {
		return proposed{}, false
	}
	return await(p.reply, m.ended)
}

// read hands over somebody who waits for a point to read at.
func (m *mailbox) read(r *read) bool {
	return m.post(func(w *work) { w.reads = append(w.reads, r) })
}

// transfer hands over somebody who wants another leader.
func (m *mailbox) transfer(t *leaderTransfer) bool {
	return m.call(func(l *loop) { l.transfer(t) })
}

// progress returns what a leader knows of the members; nil elsewhere, and after the end.
func (m *mailbox) progress() (members map[uint64]Progress) {
	m.do(func(l *loop) { members = l.progress() })
	return members
}
