package raftgroup

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// network sends raft's messages. Each peer has two streams: one for entries, which may be megabytes behind, and one for everything else,
// so that a heartbeat never waits for entries.
type network struct {
	g     *Group
	mu    sync.Mutex
	peers map[uint64]*peer
}

type peer struct {
	control *lane
	entries *lane
}

// maxControlBytes bounds the small messages that wait for one peer.
const maxControlBytes = 1 << 20

func newNetwork(g *Group) *network { return &network{g: g, peers: make(map[uint64]*peer)} }

// send queues m, or drops it if too much waits: raft does not rely on any message. It never blocks, and may be called from any
// goroutine.
func (n *network) send(m *raftpb.Message) {
	p := n.peer(m.GetTo())
	if p == nil {
		return
	}
	// Everything that may move a follower's log goes one way, in order: an empty append that overtook entries would be refused.
	if m.GetType() == raftpb.MsgApp {
		p.entries.push(m)
	} else {
		p.control.push(m)
	}
}

func (n *network) peer(id uint64) *peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[id]
	if p == nil {
		p = &peer{control: newLane(n.g, id, maxControlBytes), entries: newLane(n.g, id, 2*n.g.config.MaxInflightBytes)}
		if !n.g.spawn(p.control.run) || !n.g.spawn(p.entries.run) {
			return nil
		}
		n.peers[id] = p
	}
	return p
}

// retain ends the streams to those who are no members any more.
func (n *network) retain(conf *raftpb.ConfState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, p := range n.peers {
		if !contains(conf, id) {
			p.control.retire()
			p.entries.retire()
			delete(n.peers, id)
		}
	}
}
