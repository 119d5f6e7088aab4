package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/transport"
)

// maxEnvelopeBytes bounds a transport message of several messages.
const maxEnvelopeBytes = 1 << 20

// Waiting between attempts to reach a peer, in ticks; each attempt without success doubles it, and half of it is
// random.
const (
	minBackoffTicks = 1
	maxBackoffTicks = 8
	// When the pause reaches this, one warning is due; it is passed once only.
	warnBackoffTicks = 4
)

// errAnswered says that a peer sent something on a stream on which it has nothing to say.
var errAnswered = fmt.Errorf("%w: an answer on a stream of messages", ErrFormat)

// stream is one way to one peer: a bounded queue, and the goroutine that empties it into a connection.
//
// What holds whenever mu is free:
//
//  1. bytes is the encoded size of what waits.
//  2. More than limit waits only if it is a single message: one always fits.
//  3. Raft is told once of losses between two takes: dropping is set by the first message that did not fit, so
//     something waits then.
//
// push may be called from any goroutine; take, and everything that touches sending, is the stream's own.
type stream struct {
	network *Network
	to      uint64
	limit   int64
	wake    wake.Signal
	retired chan struct{}
	random  *rand.Rand
	sending []*raftpb.Message // what the goroutine took

	mu       sync.Mutex
	waiting  []*raftpb.Message
	bytes    int64
	dropping bool // raft was told that messages are lost since the queue was last taken
}

func newStream(n *Network, to uint64, limit int64) *stream {
	return &stream{
		network: n, to: to, limit: limit, wake: wake.New(), retired: make(chan struct{}),
		random: rand.New(rand.NewPCG(n.config.ID, to)),
	}
}

// valid returns what contradicts the properties above.
func (s *stream) valid() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var bytes int64
	for _, m := range s.waiting {
		bytes += int64(encodedBytes(m))
	}
	switch {
	case bytes != s.bytes:
		return fmt.Errorf("stream to %d: %d bytes wait, counted %d", s.to, bytes, s.bytes)
	case bytes > s.limit && len(s.waiting) > 1:
		return fmt.Errorf("stream to %d: %d bytes of %d messages wait, over %d", s.to, bytes, len(s.waiting), s.limit)
	case s.dropping && len(s.waiting) == 0:
		return fmt.Errorf("stream to %d: drops messages although none wait", s.to)
	}
	return nil
}

// retire lets the goroutine end. What waits is lost.
func (s *stream) retire() { close(s.retired) }

func (s *stream) push(m *raftpb.Message) {
	size := int64(encodedBytes(m))
	s.mu.Lock()
	full := s.bytes > 0 && s.bytes+size > s.limit
	report := full && !s.dropping
	s.dropping = s.dropping || full
	if !full {
		s.waiting = append(s.waiting, m)
		s.bytes += size
	}
	s.mu.Unlock()
	if report {
		s.network.inbox.ReportUnreachable(s.to)
	}
	s.wake.Nudge()
}

// take empties the queue. What it returns is valid until the next take.
func (s *stream) take() []*raftpb.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sending)
	s.waiting, s.sending = s.sending[:0], s.waiting
	s.bytes, s.dropping = 0, false
	return s.sending
}

// run connects when there is something to send, and again after a pause when the connection broke. What waited then is
// lost: it would only tell the peer what was true before, and raft sends anew what still matters.
func (s *stream) run() {
	config := &s.network.config
	backoff := minBackoffTicks
	for s.await(nil) {
		began := config.Clock.Now()
		err := s.converse()
		if err == nil {
			return
		}
		if config.Clock.Now().Sub(began) > maxBackoffTicks*config.TickInterval {
			backoff = minBackoffTicks
		}
		if backoff == warnBackoffTicks && s.network.life.Context().Err() == nil {
			config.Logger.Warn("peer unreachable", "peer", s.network.Name(s.to), "err", err)
		}
		s.take()
		s.network.inbox.ReportUnreachable(s.to)
		if !s.pause(backoff) {
			return
		}
		backoff = min(2*backoff, maxBackoffTicks)
	}
}

// await blocks until something waits; false if the way ends or the connection broke.
func (s *stream) await(broken <-chan struct{}) bool {
	select {
	case <-s.wake:
		return true
	case <-broken:
	case <-s.retired:
	case <-s.network.life.Context().Done():
	}
	return false
}

func (s *stream) pause(ticks int) bool {
	config := &s.network.config
	base := time.Duration(ticks) * config.TickInterval
	timer := config.Clock.NewTimer(base/2 + time.Duration(s.random.Int64N(int64(base/2)+1)))
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-s.retired:
	case <-s.network.life.Context().Done():
	}
	return false
}

// converse opens a connection and sends until it breaks, and returns why; nil if the way itself ended.
func (s *stream) converse() error {
	ctx, cancel := context.WithCancel(s.network.life.Context())
	defer cancel()
	c, addr, err := s.network.open(ctx, s.to, Service)
	if err != nil {
		return err
	}
	broken := make(chan struct{})
	var cause error
	if !s.network.life.Spawn(func() { // peers never answer on this stream: whatever comes is its end
		if _, cause = c.Recv(); cause == nil {
			cause = errAnswered
		}
		close(broken)
	}) {
		return nil
	}
	for {
		if err := s.network.apart(s.to, addr); err != nil {
			return err
		}
		if err := s.sendAll(c); errors.Is(err, transport.ErrTooLarge) {
			s.network.config.Directory.Failed(s.to, addr)
			return err
		} else if err != nil { // the stream is over, and Recv says why
			s.over(broken)
			break
		}
		if !s.await(broken) {
			break
		}
	}
	select {
	case <-broken:
		s.network.config.Directory.Failed(s.to, addr)
		if errors.Is(cause, transport.ErrRemoved) {
			s.network.config.OnRemoved(cause)
		}
		return cause
	default:
		return nil
	}
}

// over blocks until the connection broke, or the way ends.
func (s *stream) over(broken <-chan struct{}) {
	select {
	case <-broken:
	case <-s.retired:
	case <-s.network.life.Context().Done():
	}
}

// sendAll sends what waits, several messages in one envelope.
func (s *stream) sendAll(c transport.Stream) error {
	messages := s.take()
	for len(messages) > 0 {
		n, size := 1, encodedBytes(messages[0])
		for ; n < len(messages); n++ {
			if size += encodedBytes(messages[n]); size > maxEnvelopeBytes {
				break
			}
		}
		if err := c.Send(encodeMessages(messages[:n])); err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}
