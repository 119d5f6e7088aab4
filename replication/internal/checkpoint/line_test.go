package checkpoint_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// slow is a disk that takes so long for each read, of what is not the manifest.
func slow(fs vfs.FS, d time.Duration) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if reads(op) {
			time.Sleep(d)
		}
		return nil
	}))
}

func reads(op errorfs.Op) bool {
	return (op.Kind == errorfs.OpFileRead || op.Kind == errorfs.OpFileReadAt) &&
		!strings.Contains(op.Path, "CHECKPOINT")
}

// pair returns the two ends of a stream that lives until the test ends, and what ends it.
func pair(t *testing.T) (opener, server transport.Stream, end func()) {
	t.Helper()
	n := memory.NewNetwork(clock.Real, 1)
	a, b := n.Node("a"), n.Node("b")
	served := make(chan transport.Stream, 1)
	err := b.Serve(map[string]transport.Handler{service: func(ctx context.Context, s transport.Stream) error {
		served <- s
		<-ctx.Done()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := a.Open(ctx, "b", service)
	if err != nil {
		t.Fatal(err)
	}
	end = func() {
		cancel()
		a.Close()
		b.Close()
	}
	return s, <-served, end
}

// Whoever is waited for and hangs is given up, whatever it hangs at; one of a version that does not say when it works
// is given longer, while it may have to go through a whole state.
func TestWhoeverHangsIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		works bool
		want  time.Duration
	}{{true, checkpoint.Silence}, {false, checkpoint.ElderSilence}} {
		virtual.Test(t, func(t *testing.T) {
			from, m := source(t)
			given := func(what string, want time.Duration, f func(checkpoint.Line, transport.Stream) error) {
				mine, other, end := pair(t)
				defer end()
				began := time.Now()
				l := checkpoint.Line{Stream: mine, Clock: clock.Real, Works: c.works}
				if err := f(l, other); !errors.Is(err, checkpoint.ErrSilent) || time.Since(began) != want {
					t.Errorf("%s: after %v %v", what, time.Since(began), err)
				}
			}
			send := func(l checkpoint.Line) error {
				return checkpoint.Send(t.Context(), l, pebblefs.New(from), "source", m)
			}
			receive := func(l checkpoint.Line) error {
				_, err := checkpoint.Receive(t.Context(), l, pebblefs.New(vfs.NewMem()), "target", nil, nil)
				return err
			}
			given("the receiver, before it asks", c.want, func(l checkpoint.Line, _ transport.Stream) error {
				return send(l)
			})
			given("the receiver, and takes nothing", c.want, func(l checkpoint.Line, _ transport.Stream) error {
				l.Stream = full{l.Stream}
				return send(l)
			})
			given("the sender, before it offers", c.want, func(l checkpoint.Line, _ transport.Stream) error {
				return receive(l)
			})
			given("the sender, in a file", checkpoint.Silence, func(l checkpoint.Line, other transport.Stream) error {
				offer, err := m.AppendBinary([]byte{1})
				if err == nil {
					err = other.Send(offer)
				}
				if err != nil {
					t.Fatal(err)
				}
				return receive(l)
			})
		})
	}
}

// full is a stream whose window is full: nobody reads at the other end.
type full struct{ transport.Stream }

func (f full) Send([]byte) error {
	<-f.Context().Done()
	return context.Cause(f.Context())
}

// Whoever works says so, and is waited for however long that takes: a receiver that looks through what it has.
func TestWhoeverWorksIsWaitedFor(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		to := vfs.NewMem()
		transfer(t, from, m, to, 12, nil) // a part of it
		began := time.Now()
		o := transfer(t, from, m, slow(to, checkpoint.Silence/2), unlimited, nil)
		if o.err != nil || o.sendErr != nil {
			t.Fatal(o.err, o.sendErr)
		}
		if took := time.Since(began); took < 2*checkpoint.Silence {
			t.Errorf("took %v: nobody had to be waited for", took)
		}
		checkComplete(t, to, "target", m)
	})
}

// A sender that has the checkpoint made first says so, and the receiver tells how far that is.
func TestASenderThatPreparesIsWaitedFor(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		mine, other, end := pair(t)
		defer end()
		go func() {
			for i := range int64(4) {
				time.Sleep(checkpoint.Silence / 2)
				l := line(other)
				if err := l.Work(t.Context(), i); err != nil {
					t.Error(err)
				}
			}
			_ = checkpoint.Send(t.Context(), line(other), pebblefs.New(from), "source", m)
		}()
		var told []int64
		to := vfs.NewMem()
		_, err := checkpoint.Receive(t.Context(), line(mine), pebblefs.New(to), "target", nil,
			func(p checkpoint.Progress) {
				if p.Stage == checkpoint.Preparing {
					told = append(told, p.DoneBytes)
				}
			})
		if err != nil || fmt.Sprint(told) != "[0 1 2 3]" {
			t.Errorf("told %v, %v", told, err)
		}
		checkComplete(t, to, "target", m)
	})
}

// Receive and Describe end soon after their context, however much there is to look through: others wait for them.
func TestTheEndIsHeardWhileFilesAreRead(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		to := vfs.NewMem()
		if o := transfer(t, from, m, to, unlimited, nil); o.err != nil {
			t.Fatal(o.err)
		}
		why := errors.New("an election")
		ctx, cancel := context.WithCancelCause(t.Context())
		read := 0
		counting := errorfs.Wrap(to, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if reads(op) {
				read++
				cancel(why)
			}
			return nil
		}))
		mine, other, end := pair(t)
		defer end()
		go func() { _ = checkpoint.Send(t.Context(), line(other), pebblefs.New(from), "source", m) }()
		_, err := checkpoint.Receive(ctx, line(mine), pebblefs.New(counting), "target", nil, nil)
		if !errors.Is(err, why) || read != 1 {
			t.Errorf("after %d reads: %v", read, err)
		}
		_, err = checkpoint.Describe(ctx, pebblefs.New(counting), "target", m.ID, nil, nil)
		if !errors.Is(err, why) || read != 2 {
			t.Errorf("described, after %d reads: %v", read, err)
		}
	})
}

// What this process has read or written it does not read again, however often the stream breaks: on a bad one nothing
// would ever come but what is there. What it did not write itself, or what is not so any more, it does read.
func TestWhatIsKnownIsNotReadAgain(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		from, m := source(t)
		disk := vfs.NewMem()
		var counted atomic.Int64
		to := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if reads(op) {
				counted.Add(1)
			}
			return nil
		}))
		known := new(checkpoint.Memory)
		attempt := func(limit int, known *checkpoint.Memory) error {
			mine, other, end := pair(t)
			defer end()
			go func() { _ = checkpoint.Send(t.Context(), line(other), pebblefs.New(from), "source", m) }()
			l := &limited{Stream: mine, left: limit, broken: func() {}}
			_, err := checkpoint.Receive(t.Context(), line(l), pebblefs.New(to), "target", known, nil)
			return err
		}
		for limit := 3; ; limit++ { // one chunk more each time
			err := attempt(limit, known)
			if err == nil {
				break
			}
			if !errors.Is(err, transport.ErrUnreachable) {
				t.Fatal(err)
			}
		}
		if n := counted.Load(); n != 0 {
			t.Errorf("read %d times what it wrote itself", n)
		}
		checkComplete(t, disk, "target", m)
		damaged := bytes.Clone(read(t, disk, "target/000012.sst"))
		write(t, disk, "target/000012.sst", damaged[:100])
		if err := attempt(unlimited, known); err != nil {
			t.Fatal(err)
		}
		checkComplete(t, disk, "target", m)
		damaged[7] ^= 1
		write(t, disk, "target/000012.sst", damaged)
		if err := attempt(unlimited, new(checkpoint.Memory)); err != nil || counted.Load() == 0 {
			t.Fatal("trusted what it does not know", err)
		}
		checkComplete(t, disk, "target", m)
	})
}

// What is on the wire stays: the other side may be of another version.
func TestTheWordOfWhoWorks(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		mine, other, end := pair(t)
		defer end()
		l := line(mine)
		if err := l.Work(t.Context(), 300); err != nil {
			t.Fatal(err)
		}
		p, err := other.Recv()
		if err != nil || hex.EncodeToString(p) != "062c01000000000000"+"17bf9e8e" {
			t.Errorf("sent %x, %v", p, err)
		}
		for i := range p {
			damaged := bytes.Clone(p)
			damaged[i] ^= 1
			mine, other, end := pair(t)
			if err := other.Send(damaged); err != nil {
				t.Fatal(err)
			}
			_, err := checkpoint.Receive(t.Context(), line(mine), pebblefs.New(vfs.NewMem()), "x", nil, nil)
			if !errors.Is(err, checkpoint.ErrCorrupt) && !errors.Is(err, checkpoint.ErrFormat) {
				t.Errorf("byte %d changed: %v", i, err)
			}
			end()
		}
		l.Works = false
		if err := l.Work(t.Context(), 300); err != nil { // who does not know the word is not told it
			t.Fatal(err)
		}
		if err := mine.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if p, err := other.Recv(); err != io.EOF {
			t.Errorf("sent %x, %v", p, err)
		}
	})
}
