package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

const (
	// firstLook is how long a switchover runs before it is looked how far it is: most are over by then.
	firstLook = 400 * time.Millisecond
	// lookEvery is the pause between two looks on a terminal, and sayEvery that between two lines elsewhere.
	lookEvery = 500 * time.Millisecond
	sayEvery  = 5 * time.Second
)

// watchMove shows how far the switchover under way is until end is called.
func watchMove(ctx context.Context, out io.Writer, client *admin.Client) (w *moveWatch, end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	w = &moveWatch{out: out, terminal: isTerminal(out)}
	client = admin.Telling(client, nil) // of each look it would be said again
	go func() {
		defer close(done)
		defer w.end()
		for pause := firstLook; ; pause = lookEvery {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			if f, err := client.Fleet(ctx); err == nil {
				w.show(time.Now(), f)
			}
		}
	}()
	return w, func() {
		cancel()
		<-done
	}
}

// waits says for whom the order waits, if it is not shown how far it is. It is safe beside all else.
func (w *moveWatch) waits(endpoints string, silent time.Duration) {
	if !w.showing.Load() {
		fmt.Fprintf(w.out, "mimir: waiting for %s: no answer for %s\n", endpoints, silent)
	}
}

// moveWatch tells how far a switchover is: on a terminal as one line that changes, elsewhere as a line at first, when
// writes begin to pause, and now and then.
type moveWatch struct {
	out      io.Writer
	terminal bool
	shown    bool
	said     time.Time
	paused   bool
	showing  atomic.Bool // something was shown
	first    sample      // of the target, as long as writes go on
}

// sample is how much a target lacked.
type sample struct {
	at    time.Time
	lacks uint64
	bytes uint64
}

// show tells what is known of the move that f shows, if it shows one.
func (w *moveWatch) show(now time.Time, f *replication.FleetStatus) {
	for i := range f.Regions {
		r := &f.Regions[i]
		if r.Moving == "" {
			continue
		}
		text := fmt.Sprintf("%s %s", r.Name, r.Moving)
		if to := region(f, r.MovingTo); to != nil && !r.Sealed {
			text += w.left(now, to)
		}
		w.showing.Store(true)
		switch {
		case w.terminal:
			again(w.out, text)
			w.shown = true
		case w.said.IsZero() || now.Sub(w.said) >= sayEvery || r.Sealed != w.paused:
			fmt.Fprintln(w.out, text)
			w.said, w.paused = now, r.Sealed
		}
	}
}

func region(f *replication.FleetStatus, name string) *replication.RegionStatus {
	for i := range f.Regions {
		if f.Regions[i].Name == name {
			return &f.Regions[i]
		}
	}
	return nil
}

// left says how much a target lacks in bytes, and when it will lack nothing if it goes on as it did.
func (w *moveWatch) left(now time.Time, to *replication.RegionStatus) string {
	if to.Lag.Seconds < 0 || to.Lag.AtLeast || to.Lag.Commands == 0 {
		return "" // not known, or it has not heard yet that it lags
	}
	s := sample{now, to.Lag.Commands, to.Lag.Bytes}
	if w.first.at.IsZero() || s.lacks > w.first.lacks {
		w.first = s
	}
	text := "; " + byteText(s.bytes) + " left"
	elapsed, gained := now.Sub(w.first.at), w.first.lacks-s.lacks
	if gained == 0 || elapsed < lookEvery {
		return text
	}
	left := time.Duration(float64(elapsed) * float64(s.lacks) / float64(gained))
	return fmt.Sprintf("%s, for about %s", text, left.Round(time.Second))
}

func (w *moveWatch) end() {
	if w.shown {
		again(w.out, "")
	}
}
