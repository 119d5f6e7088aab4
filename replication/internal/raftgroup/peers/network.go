package peers

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Service is the name under which members take each other's messages; the number is that of the protocol.
const Service = "raft/1"

// Config is what a network is made of. Every field is required, but for Caller, Apart and OnRemoved.
type Config struct {
	Group string // peers of another are refused
	ID    uint64 // this member

	Transport transport.Transport
	Directory Directory

	Clock        clock.Clock
	TickInterval time.Duration // pauses between attempts to connect are counted in it
	// MaxInflightBytes is what raft may have on its way to one peer; twice as much may wait for its stream.
	MaxInflightBytes int64
	Logger           *slog.Logger

	// Caller returns which member opened the stream of a context; false if that is not known. Nil: it never is.
	Caller func(ctx context.Context) (id uint64, known bool)
	// Apart reports whether who is at an address as a member is known to be of another life of the group. It is called
	// often, and must not block. Nil: nobody is.
	Apart func(id uint64, addr string) bool
	// OnRemoved is told that a member says this node was removed from the group, and why it is believed. It may be
	// called often, from any goroutine, and must not block.
	OnRemoved func(error)
}

// Directory is what is known of members now. It is safe for concurrent use.
type Directory interface {
	// Addr returns where a member is reached, as well as is known.
	Addr(id uint64) (addr string, ok bool)
	// Failed says that a member was not reached at addr, or that the connection broke: there may be another address to
	// try next. It never blocks.
	Failed(id uint64, addr string)
	// Removed reports whether the group knows that this identity was removed from it. Such a one never comes back.
	Removed(id uint64) bool
	// Name returns what a member is called, "" if nobody said it.
	Name(id uint64) string
}

// NameIn returns what a log calls a member: by its number only if nobody knows its name, and nobody "".
func NameIn(d Directory, id uint64) string {
	if id == 0 {
		return ""
	}
	return cmp.Or(d.Name(id), strconv.FormatUint(id, 16))
}

// Inbox is where messages go that arrive: raft's side. Its methods may be called from any goroutine.
type Inbox interface {
	// Receive takes the messages of one envelope, which was of so many bytes. Those of one stream are handed over in
	// order. It blocks while too many wait, and so holds up the peer; false says that the group has ended.
	Receive(messages []*raftpb.Message, bytes int) bool
	// ReportUnreachable notes that messages to a member were lost. It never blocks.
	ReportUnreachable(id uint64)
}

// Lifetime is how long the group lasts, for the goroutines that serve it.
type Lifetime interface {
	// Spawn runs f on a goroutine that the end of the group waits for; false, and f never runs, if it has ended.
	Spawn(f func()) bool
	// Context ends with the group; its cause says why.
	Context() context.Context
}

// Network is all connections of this member to the others. Its methods are safe for concurrent use.
type Network struct {
	config Config
	inbox  Inbox
	life   Lifetime

	mu    sync.Mutex
	peers map[uint64]*peer
}

// peer is the two ways to one member (N2).
type peer struct {
	control *stream // everything but appends
	entries *stream // appends, which may be megabytes behind
}

// maxControlBytes bounds the small messages that wait for one peer.
const maxControlBytes = 1 << 20

// New returns a network without connections; the first message to a member opens one.
func New(c Config, inbox Inbox, life Lifetime) *Network {
	return &Network{config: c, inbox: inbox, life: life, peers: make(map[uint64]*peer)}
}

// Send queues m for its receiver, or drops it if too much waits (N1). m is the network's to read until it is sent; its
// entries stay raft's, and nobody changes them.
func (n *Network) Send(m *raftpb.Message) {
	p := n.peer(m.GetTo())
	if p == nil {
		n.inbox.ReportUnreachable(m.GetTo())
		return
	}
	// Everything that may move a follower's log goes one way, in order: an empty append that overtook entries would be
	// refused.
	if m.GetType() == raftpb.MsgApp {
		p.entries.push(m)
	} else {
		p.control.push(m)
	}
}

// apart returns ErrApart if nothing is sent to a member at an address (N8), which counts as one that failed: he may be
// at another one.
func (n *Network) apart(id uint64, addr string) error {
	if n.config.Apart == nil || !n.config.Apart(id, addr) {
		return nil
	}
	n.config.Directory.Failed(id, addr)
	return fmt.Errorf("%w: %s, at %s", ErrApart, n.Name(id), addr)
}

// peer returns the ways to a member, new ones if need be; nil once the group has ended, and for one of whom nobody
// knows where he is: answers go to whomever a message names, and he would have two goroutines for nothing.
func (n *Network) peer(id uint64) *peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[id]
	if p == nil {
		if _, known := n.config.Directory.Addr(id); !known {
			return nil
		}
		p = &peer{control: newStream(n, id, maxControlBytes), entries: newStream(n, id, 2*n.config.MaxInflightBytes)}
		if !n.life.Spawn(p.control.run) || !n.life.Spawn(p.entries.run) {
			return nil
		}
		n.peers[id] = p
	}
	return p
}

// Retain ends the streams to those who are not in conf any more (N5).
func (n *Network) Retain(conf *raftpb.ConfState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, p := range n.peers {
		if !IsMember(conf, id) {
			p.control.retire()
			p.entries.retire()
			delete(n.peers, id)
		}
	}
}

// Open opens a stream to a service of a member, and says hello. It lives until ctx ends, or either side ends it;
// ErrNoAddress if nobody knows where the member is, ErrApart if nothing is sent to him there.
func (n *Network) Open(ctx context.Context, to uint64, service string) (transport.Stream, error) {
	s, _, err := n.open(ctx, to, service)
	return s, err
}

// open is Open, and tells at which address. One that could not be opened has been noted as failed.
func (n *Network) open(ctx context.Context, to uint64, service string) (transport.Stream, string, error) {
	addr, ok := n.config.Directory.Addr(to)
	if !ok {
		return nil, "", ErrNoAddress
	}
	if err := n.apart(to, addr); err != nil {
		return nil, addr, err
	}
	s, err := n.config.Transport.Open(ctx, addr, service)
	if err == nil {
		err = s.Send(Hello{Group: n.config.Group, From: n.config.ID, To: to}.Encode())
	}
	if err != nil {
		n.config.Directory.Failed(to, addr)
	}
	return s, addr, err
}

// Name returns what a log calls a member.
func (n *Network) Name(id uint64) string { return NameIn(n.config.Directory, id) }

// IsMember reports whether id is a member of any kind: one that leaves a joint configuration, or is still to become a
// learner, is.
func IsMember(conf *raftpb.ConfState, id uint64) bool {
	return slices.Contains(conf.GetVoters(), id) || slices.Contains(conf.GetLearners(), id) ||
		slices.Contains(conf.GetVotersOutgoing(), id) || slices.Contains(conf.GetLearnersNext(), id)
}
