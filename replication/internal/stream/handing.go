package stream

import (
	"context"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// hand checks what arrived and hands over what continues the history. What it handed over may still be lost on its way
// through Raft; the next session begins at what is applied by then.
func (f *following) hand(ctx context.Context) error {
	c := checker{tracker: newTracker(f.held), decoder: f.sink.decoder}
	for {
		batches := f.dequeue()
		if len(batches) == 0 {
			select {
			case <-f.arrived:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := c.check(batches); err != nil {
			return fmt.Errorf("from %s: %w", f.address, err)
		}
		if len(c.next) > 0 {
			if err := f.config.Taker.Take(ctx, c.next); err != nil {
				return fmt.Errorf("hand over up to position %d: %w", c.tracker.at.Position, err)
			}
			f.progress = true
		}
		f.mu.Lock()
		for _, b := range c.passed {
			f.window.push(b)
		}
		f.mu.Unlock()
		f.handed.Nudge()
	}
}

// checker finds in batches what continues the history.
type checker struct {
	tracker  *tracker
	decoder  *zstd.Decoder
	payloads [][]byte
	next     [][]byte // what is to be handed over
	passed   []sent   // the batches, with where each of them ends
}

// check fills next and passed anew. After an error nothing may be handed over.
func (c *checker) check(batches []batch) error {
	clear(c.next)
	c.next, c.passed = c.next[:0], c.passed[:0]
	for _, b := range batches {
		var err error
		if c.payloads, err = unpack(c.decoder, b.body, c.payloads[:0]); err != nil {
			return err
		}
		for _, p := range c.payloads {
			taken, err := c.tracker.next(p)
			if err != nil {
				return err
			}
			if taken {
				c.next = append(c.next, p)
			}
		}
		c.passed = append(c.passed, sent{at: c.tracker.at, cost: b.cost})
	}
	clear(c.payloads)
	return nil
}

// dequeue takes what is queued, up to about takeBytes.
func (f *following) dequeue() []batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, bytes := 0, int64(0)
	for n < len(f.queue) && bytes < takeBytes {
		bytes += f.queue[n].cost
		n++
	}
	batches := f.queue[:n:n]
	if f.queue = f.queue[n:]; len(f.queue) == 0 {
		f.queue = nil
	}
	return batches
}

// speak acknowledges what is applied here, which this region's quorum has committed, as soon as it changes, and asks
// for the source's position.
func (f *following) speak(ctx context.Context) error {
	ticker := f.config.Clock.NewTicker(f.config.PingInterval)
	defer ticker.Stop()
	if err := f.ping(); err != nil {
		return err
	}
	acked := f.held
	for {
		changed := f.config.Taker.Changed()
		at := f.config.Taker.Cursor()
		if f.settle(at) || at != acked {
			if err := f.stream.Send(encodeAck(ack{at.Epoch, at.Position})); err != nil {
				return err
			}
			acked = at
		}
		select {
		case <-changed:
		case <-f.handed:
		case <-ticker.C():
			if err := f.ping(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle gives back the room of what is applied, and reports whether it was any.
func (f *following) settle(at timeline.Cursor) bool {
	f.mu.Lock()
	before := f.window.bytes
	f.window.release(ack{at.Epoch, at.Position})
	room := before - f.window.bytes
	f.bytes -= room
	f.mu.Unlock()
	f.sink.applied(at.Position, room)
	return room > 0
}

// drop gives up what is not known to be applied: it has to come again.
func (f *following) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sink.dropped(f.bytes)
	f.bytes = 0
}

func (f *following) ping() error {
	f.mu.Lock()
	f.token++
	token := f.token
	f.pings[token] = f.config.Clock.Now()
	f.mu.Unlock()
	return f.stream.Send(encodePing(token))
}
