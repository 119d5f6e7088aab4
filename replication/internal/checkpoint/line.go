package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/transport"
)

// For how long the other side of a transfer may say nothing while it is waited for.
const (
	// Silence is of a side that says so when it works: then this is one step of it of which nothing can be told, as a
	// sync is, or what a storage does at once.
	Silence = 10 * time.Minute
	// ElderSilence is of a side of a version that does not say so: it may make and sum a whole state meanwhile.
	ElderSilence = 2 * time.Hour
)

// workEvery is how often a side that works says so.
const workEvery = 5 * time.Second

// ErrSilent says that the other side of a transfer said nothing for too long: it hangs, or its disk does.
var ErrSilent = errors.New("checkpoint: the other side is silent")

// Line is a stream on which a checkpoint travels. Both directions of it are bounded: whoever is waited for and says
// nothing for too long is given up, with ErrSilent. The owner of the stream ends it when Send or Receive has returned;
// until then a message may still be waited for.
type Line struct {
	Stream transport.Stream
	Clock  clock.Clock
	// Works says that both sides know the word by which one says that it works: the owner of the stream knows it by the
	// service that the stream is of.
	Works bool
	// Elder is for how long the other side may be silent where it does not know that word; zero: ElderSilence. Who is
	// known to have what he sends needs no more than Silence.
	Elder time.Duration
}

// patience is how long the other side may be silent while it may have to go through a whole state.
func (l *Line) patience() time.Duration {
	if l.Works {
		return Silence
	}
	return cmp.Or(l.Elder, ElderSilence)
}

// Work says that this side works, and how many bytes it has gone through so far; nothing if the other side does not
// know that word.
func (l *Line) Work(ctx context.Context, bytes int64) error {
	if !l.Works {
		return nil
	}
	return l.send(ctx, encodeWork(bytes))
}

// Send is the stream's, bounded, and with the other side's reason if the stream is over: for what comes before the
// checkpoint.
func (l *Line) Send(ctx context.Context, p []byte) error { return l.send(ctx, p) }

func (l *Line) send(ctx context.Context, p []byte) error {
	_, err := await(ctx, l.Clock, l.patience(), func() ([]byte, error) { return nil, l.Stream.Send(p) })
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrSilent) || errors.Is(err, transport.ErrTooLarge) {
		return err
	}
	for { // the stream is over, and Recv says why, behind what came before
		p, why := await(ctx, l.Clock, Silence, l.Stream.Recv)
		switch {
		case errors.Is(why, io.EOF):
			return err
		case why != nil:
			return why
		case len(p) > 0 && p[0] == kindFailed:
			return l.failed(p)
		}
	}
}

// failed is the error of what a receiver said that gave up. That what came is corrupt he says in these words, of
// whichever version he is.
func (l *Line) failed(p []byte) error {
	err := fmt.Errorf("%w: %s: %.*q", ErrReceiver, l.Stream.Peer(), maxReason, p[1:])
	if strings.Contains(string(p[1:]), ErrCorrupt.Error()) {
		err = fmt.Errorf("%w: %w", ErrDoubted, err)
	}
	return err
}

// lastWord is for how long whoever gave up waits, at most, until the other side has heard why.
const lastWord = 10 * time.Second

// linger waits until the other side, which was told why this one gives up, has ended the stream: what was not received
// yet may be lost when this side ends it. What comes still is dropped.
func (l *Line) linger(ctx context.Context) {
	for end := l.Clock.Now().Add(lastWord); ; {
		left := end.Sub(l.Clock.Now())
		if left <= 0 {
			return
		}
		if _, err := await(ctx, l.Clock, left, l.Stream.Recv); err != nil {
			return
		}
	}
}

// End waits until the other side has ended the stream in good order.
func (l *Line) End(ctx context.Context) error {
	_, err := await(ctx, l.Clock, l.patience(), l.Stream.Recv)
	if err == nil {
		err = fmt.Errorf("%w: a message after the end", ErrFormat)
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// recv returns the next message that is more than the word of somebody who works. Each such word is told to works,
// which may be nil, and silence counts from it.
func (l *Line) recv(ctx context.Context, silence time.Duration, works func(bytes int64)) ([]byte, error) {
	for {
		p, err := await(ctx, l.Clock, silence, l.Stream.Recv)
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil || !l.Works || len(p) == 0 || p[0] != kindWork {
			return p, err
		}
		bytes, err := decodeWork(p)
		if err != nil {
			return nil, err
		}
		if works != nil {
			works(bytes)
		}
	}
}

// await returns what do does, unless ctx ends before, or d passes. What do waits for then ends with the stream.
func await(
	ctx context.Context, c clock.Clock, d time.Duration, do func() ([]byte, error),
) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	type outcome struct {
		message []byte
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		p, err := do()
		done <- outcome{p, err}
	}()
	timer := c.NewTimer(d)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.message, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C():
		return nil, fmt.Errorf("%w: nothing for %v", ErrSilent, d)
	}
}

// worker says that this side works while it goes through files, and ends that when it is not wanted any more.
type worker struct {
	ctx   context.Context
	line  *Line
	bytes int64     // gone through so far
	said  time.Time // when the other side was last told
}

func (l *Line) worker(ctx context.Context) *worker {
	return &worker{ctx: ctx, line: l, said: l.Clock.Now()}
}

// through notes that so many further bytes were gone through.
func (w *worker) through(bytes int64) error {
	w.bytes += bytes
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	now := w.line.Clock.Now()
	if now.Sub(w.said) < workEvery {
		return nil
	}
	w.said = now
	return w.line.Work(w.ctx, w.bytes)
}
