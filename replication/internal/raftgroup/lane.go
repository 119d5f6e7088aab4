package raftgroup

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/transport"
)

// maxEnvelopeBytes bounds a transport message of several messages.
const maxEnvelopeBytes = 1 << 20

// Waiting between attempts to reach a peer, in ticks; each attempt without success doubles it, and half of it is random.
const (
	minBackoffTicks = 1
	maxBackoffTicks = 8
	// When the pause reaches this, one warning is due; it is passed once only.
	warnBackoffTicks = 4
)

var errNoAddress = errors.New("no address is known")

// lane is one direction of one stream to one peer: a bounded queue and the goroutine that empties it.
type lane struct {
	g       *Group
	to      uint64
	limit   int64
	wake    chan struct{}
	retired chan struct{}
	random  *rand.Rand
	sending []*raftpb.Message // what the goroutine took

	mu       sync.Mutex
	waiting  []*raftpb.Message
	bytes    int64
	dropping bool // told raft that messages are lost since the queue was last taken
}

func newLane(g *Group, to uint64, limit int64) *lane {
	return &lane{
		g: g, to: to, limit: limit, wake: make(chan struct{}, 1), retired: make(chan struct{}),
		random: rand.New(rand.NewPCG(g.config.ID, to)),
	}
}

// retire lets the goroutine end.
func (l *lane) retire() { close(l.retired) }

func (l *lane) push(m *raftpb.Message) {
	size := int64(encodedBytes(m))
	l.mu.Lock()
	full := l.bytes > 0 && l.bytes+size > l.limit
	report := full && !l.dropping
	l.dropping = l.dropping || full
	if !full {
		l.waiting = append(l.waiting, m)
		l.bytes += size
	}
	l.mu.Unlock()
	if report {
		l.unreachable()
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) take() []*raftpb.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting, l.sending = emptied(l.sending), l.waiting
	l.bytes, l.dropping = 0, false
	return l.sending
}

func (l *lane) unreachable() {
	l.g.mail.call(func() { l.g.loop.node.ReportUnreachable(l.to) })
}

// run connects when there is something to send, and again after a pause when the stream broke. What waited then is lost.
func (l *lane) run() {
	backoff := minBackoffTicks
	for l.await(nil) {
		began := l.g.config.Clock.Now()
		err := l.converse()
		if err == nil {
			return
		}
		if l.g.config.Clock.Now().Sub(began) > maxBackoffTicks*l.g.config.TickInterval {
			backoff = minBackoffTicks
		}
		if backoff == warnBackoffTicks && l.g.context.Err() == nil {
			l.g.log.Warn("peer unreachable", "peer", l.to, "error", err)
		}
		l.take()
		l.unreachable()
		if !l.pause(backoff) {
			return
		}
		backoff = min(2*backoff, maxBackoffTicks)
	}
}

// await blocks until something waits; false if the lane ends or the stream broke.
func (l *lane) await(broken <-chan struct{}) bool {
	select {
	case <-l.wake:
		return true
	case <-broken:
	case <-l.retired:
	case <-l.g.context.Done():
	}
	return false
}

func (l *lane) pause(ticks int) bool {
	base := time.Duration(ticks) * l.g.config.TickInterval
	timer := l.g.config.Clock.NewTimer(base/2 + time.Duration(l.random.Int64N(int64(base/2)+1)))
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-l.retired:
	case <-l.g.context.Done():
	}
	return false
}

// converse opens a stream and sends until it breaks, and returns why; nil if the lane itself ended.
func (l *lane) converse() error {
	addr, ok := l.g.config.Address(l.to)
	if !ok {
		return errNoAddress
	}
	ctx, cancel := context.WithCancel(l.g.context)
	defer cancel()
	s, err := l.g.config.Transport.Open(ctx, addr, ServiceMessages)
	if err != nil {
		return err
	}
	broken := make(chan struct{})
	var cause error
	if !l.g.spawn(func() { // peers never answer on this stream: whatever comes is its end
		_, cause = s.Recv()
		close(broken)
	}) {
		return nil
	}
	if err := s.Send(hello{group: l.g.config.GroupID, from: l.g.config.ID, to: l.to}.encode()); err != nil {
		return err
	}
	for {
		if err := l.sendAll(s); err != nil {
			return err
		}
		if !l.await(broken) {
			break
		}
	}
	select {
	case <-broken:
		if cause == nil {
			cause = ErrFormat
		}
		return cause
	default:
		return nil
	}
}

// sendAll sends what waits, several messages in one envelope.
func (l *lane) sendAll(s transport.Stream) error {
	messages := l.take()
	for len(messages) > 0 {
		n, size := 1, encodedBytes(messages[0])
		for ; n < len(messages); n++ {
			if size += encodedBytes(messages[n]); size > maxEnvelopeBytes {
				break
			}
		}
		if err := s.Send(encodeMessages(messages[:n])); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}
