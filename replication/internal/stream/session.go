package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// session is one subscriber of a Source. Three goroutines serve it: one receives, one decides what the messages mean
// and when it is over, and one reads the log and sends.
type session struct {
	source *Source
	stream transport.Stream
	region string
	formed map[uint64]string
	pin    string
	since  time.Time
	log    *slog.Logger
	wake   wake.Signal // something the sender waits for has changed
	stop   context.CancelFunc

	mu      sync.Mutex
	acked   ack
	window  window
	horizon horizon
	backlog backlog
	sentAt  timeline.Cursor
	needs   uint64 // first log index the reader still needs
	pings   []pong // to be answered
	asking  bool   // for the committed position, or waiting until it is applied here
	ended   bool
}

// Handle serves one subscriber until either side ends it. It is the transport.Handler of Service.
func (s *Source) Handle(ctx context.Context, stream transport.Stream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	incoming := receive(ctx, stream)
	silence := s.config.Clock.NewTimer(s.config.SilenceTimeout)
	defer silence.Stop()

	var first []byte
	select {
	case m := <-incoming:
		if m.err != nil {
			return m.err
		}
		first = m.bytes
	case <-silence.C():
		return fmt.Errorf("%w: no subscription within %v", ErrSilent, s.config.SilenceTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
	k, body, err := open(first)
	if err != nil {
		return err
	}
	if k != kindSubscribe {
		return fmt.Errorf("%w: kind %d before a subscription", ErrProtocol, k)
	}
	sub, err := decodeSubscribe(body)
	if err != nil {
		return err
	}
	if err := transport.MaySpeak(stream.Context(), sub.region); err != nil {
		return err
	}
	x := s.newSession(stream, sub)
	x.stop = cancel
	return x.run(ctx, sub, incoming)
}

func (s *Source) newSession(stream transport.Stream, sub *subscribe) *session {
	s.mu.Lock()
	s.number++
	number := s.number
	s.mu.Unlock()
	limit := s.config.WindowBytes
	if sub.window > 0 && sub.window < uint64(limit) {
		limit = int64(sub.window)
	}
	return &session{
		source: s, stream: stream, region: sub.region, formed: sub.formed,
		pin:    fmt.Sprintf("stream/%s/%d", sub.region, number),
		since:  s.config.Clock.Now(),
		log:    s.config.Logger.With("subscriber", sub.region, "peer", stream.Peer()),
		wake:   wake.New(),
		acked:  ack{sub.at.Epoch, sub.at.Position},
		window: window{limit: limit},
		sentAt: sub.at,
	}
}

// message is what was received, or why nothing more is.
type message struct {
	bytes []byte
	err   error
}

// receive hands out what arrives on stream until it ends or ctx does.
func receive(ctx context.Context, stream transport.Stream) <-chan message {
	c := make(chan message)
	go func() {
		for {
			m, err := stream.Recv()
			select {
			case c <- message{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return c
}

// run judges the subscription and serves it.
func (x *session) run(ctx context.Context, sub *subscribe, incoming <-chan message) error {
	x.source.config.Log.Pin(x.pin, 0) // nothing is released between the verdict and the first read
	defer x.end()
	sender := newSender(x)
	view := x.source.config.History.View()
	a, first := sender.judge(view, sub)
	if a.verdict != verdictAccept {
		x.log.Debug("subscription not served", "verdict", a.verdict.String(), "position", sub.at.Position,
			"epoch", sub.at.Epoch, "answer", a.text)
		return x.stream.Send(encodeAnswer(a))
	}
	x.log.Info("subscription served", "position", sub.at.Position, "epoch", sub.at.Epoch)
	x.source.enter(x)
	x.tellAck(ack{sub.at.Epoch, sub.at.Position})
	err := x.serve(ctx, incoming, func(ctx context.Context) error { return sender.run(ctx, a, view, first) })
	x.log.Info("subscription ended", "acknowledged", x.slotPosition(), "err", err)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// serve runs send beside control until one of them ends.
func (x *session) serve(ctx context.Context, incoming <-chan message, send func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer close(done)
		done <- send(ctx)
	}()
	err := x.control(ctx, incoming, done)
	cancel()
	x.end()
	x.source.leave(x)
	for range done { // nothing may be sent any more once the handler has returned; a dead peer breaks the stream
	}
	return err
}

// control handles what the subscriber says until something ends the session.
func (x *session) control(ctx context.Context, incoming <-chan message, done <-chan error) error {
	timeout := x.source.config.SilenceTimeout
	silence := x.source.config.Clock.NewTimer(timeout)
	defer silence.Stop()
	for {
		select {
		case m := <-incoming:
			if m.err != nil {
				return m.err
			}
			silence.Reset(timeout)
			if err := x.handle(ctx, m.bytes); err != nil {
				return err
			}
		case err := <-done:
			return err
		case <-silence.C():
			return fmt.Errorf("%w: nothing heard for %v", ErrSilent, timeout)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (x *session) handle(ctx context.Context, m []byte) error {
	k, body, err := open(m)
	if err != nil {
		return err
	}
	if err := x.strange(); err != nil { // which may have come out since it began
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	switch k {
	case kindAck:
		a, err := decodeAck(body)
		if err == nil {
			x.acknowledge(a)
		}
		return err
	case kindPing:
		token, err := decodePing(body)
		if err == nil {
			x.ask(ctx, token)
		}
		return err
	default:
		return fmt.Errorf("%w: kind %d from a subscriber", ErrProtocol, k)
	}
}

// strange says why the subscriber is not of the region that it names, nil if it is as far as is known.
func (x *session) strange() error {
	if f := x.source.config.Strange; f != nil {
		return f(x.region, x.formed)
	}
	return nil
}

// acknowledge moves the slot; it never goes back.
func (x *session) acknowledge(a ack) {
	x.mu.Lock()
	if !a.covers(timeline.Cursor{Epoch: x.acked.epoch, Position: x.acked.position}) {
		x.mu.Unlock()
		return
	}
	moved := a.position > x.acked.position
	x.acked = a
	x.window.release(a)
	x.horizon.reach(a.position)
	x.repin()
	x.mu.Unlock()
	x.signal()
	if moved {
		x.tellAck(a)
	}
}

func (x *session) tellAck(a ack) {
	if f := x.source.config.OnAck; f != nil {
		f(x.region, a.epoch, a.position)
	}
}

// repin keeps the log from the first entry that is not acknowledged. x.mu is held.
func (x *session) repin() {
	if x.ended || x.needs == 0 {
		return
	}
	index := x.needs
	if len(x.window.batches) > 0 {
		index = min(index, x.window.batches[0].first)
	}
	x.source.config.Log.Pin(x.pin, index)
}

// ask has a ping answered. One question for the committed position is under way at a time; a ping that comes meanwhile
// is answered without.
func (x *session) ask(ctx context.Context, token uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.signal()
	switch committed := x.source.config.Committed; {
	case committed == nil:
		x.pings = append(x.pings, pong{token: token, known: true})
	case x.asking:
		x.pings = append(x.pings, pong{token: token})
	default:
		x.asking = true
		go x.askCommitted(ctx, token)
	}
}

func (x *session) askCommitted(ctx context.Context, token uint64) {
	ctx, cancel := context.WithTimeout(ctx, x.source.config.SilenceTimeout) // a question that is lost is put again
	defer cancel()
	position, err := x.source.config.Committed(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		x.asking = false
	}
	x.pings = append(x.pings, pong{token: token, known: err == nil, committed: position})
	x.signal()
}

// answers takes the pings that can be answered, view being what is applied here. A position asked for counts only once
// it is applied here, so that the bytes that go with it are counted.
func (x *session) answers(view View) []pong {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.pings) == 0 {
		return nil
	}
	var ready, waiting []pong
	for _, p := range x.pings {
		if p.known {
			if x.source.config.Committed == nil {
				p.committed = view.Cursor.Position
			} else if p.committed > view.Cursor.Position {
				waiting = append(waiting, p)
				continue
			} else {
				x.asking = false
			}
			p.unsent = x.backlog.unsent(view, x.source.config.Log)
		}
		ready = append(ready, p)
	}
	x.pings = waiting
	return ready
}

// begin notes how much is to be sent at most.
func (x *session) begin(view View) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.backlog.start(view, x.source.config.Log)
}

// admit makes c, which was read from view, part of the window if there is room; needs is the first log index not read
// with it.
func (x *session) admit(view View, c chunk, cost int64, needs uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.window.fits(cost) {
		x.needs = c.first
		x.repin()
		return false
	}
	if len(c.payloads) > 0 && !x.acked.covers(c.at) {
		x.window.push(sent{at: c.at, first: c.first, cost: cost})
	}
	x.sentAt, x.needs = c.at, needs
	x.backlog.give(view, c)
	x.repin()
	return true
}

// observe notes what was committed at the moment asked, before view was taken.
func (x *session) observe(asked time.Time, view View) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.horizon.add(asked, view.Cursor.Position)
	x.horizon.reach(x.acked.position)
}

func (x *session) signal() {
	x.wake.Nudge()
}

func (x *session) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	x.source.config.Log.Unpin(x.pin)
}

func (x *session) slotPosition() timeline.Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.acked.position
}

// slot describes the session against a view that was taken after the moment asked.
func (x *session) slot(asked time.Time, view View) SlotView {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.horizon.add(asked, view.Cursor.Position)
	x.horizon.reach(x.acked.position)
	s := SlotView{Region: x.region, Acknowledged: x.acked.position, Sent: x.sentAt.Position, Since: x.since}
	if view.Cursor.Position > s.Acknowledged {
		s.Lag.Commands = uint64(view.Cursor.Position - s.Acknowledged)
		s.Lag.Bytes = x.backlog.unsent(view, x.source.config.Log) + uint64(x.window.bytes)
	}
	s.Lag.Seconds, s.Lag.Known = x.horizon.seconds(x.source.config.Clock.Now())
	return s
}
