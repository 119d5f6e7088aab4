package transfer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestWhoIsSilentIsGivenUp (T5): nothing is applied while a sibling is asked that hangs, and another may answer. So it
// is where it does not say that it works.
func TestWhoIsSilentIsGivenUp(t *testing.T) {
	const want = checkpoint.Silence
	for _, addr := range []string{"us-2", "us-2" + elder} {
		inBubble(t, func(t *testing.T, net *memory.Network) {
			a, b, c := start(t, net, "us-1"), start(t, net, addr), start(t, net, "us-3")
			a.others = []string{addr, "us-3"}
			b.hangs = make(chan struct{})
			c.begin("us")
			c.put("right")
			b.begin("us")
			began := time.Now()
			id, err := a.staging.FetchSibling(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < want || took > want+time.Minute {
				t.Errorf("%s was waited for for %v", addr, took)
			}
			a.holds(id, []string{"right"})
			close(b.hangs)
		})
	}
}

// TestASiblingOfBeforeThatIsSlowIsWaitedFor once the others were asked as well.
func TestASiblingOfBeforeThatIsSlowIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b := start(t, net, "us-1"), start(t, net, "us-2"+elder)
		a.others = []string{"us-2" + elder}
		b.begin("us")
		b.put("right")
		b.hangs = make(chan struct{})
		time.AfterFunc(checkpoint.ElderSilence-time.Minute, func() { close(b.hangs) })
		id, err := a.staging.FetchSibling(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		a.holds(id, []string{"right"})
	})
}

// TestWhoHasWhatIsAskedForIsNotWaitedForLong: a copy that is named is there, and nothing has to be made.
func TestWhoHasWhatIsAskedForIsNotWaitedForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, addr := start(t, net, "us-1"), "us-2"+elder
		tr := net.Node(addr)
		err := tr.Serve(map[string]transport.Handler{ServiceElder: func(ctx context.Context, _ transport.Stream) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		began, named := time.Now(), strings.Repeat("0", 2*idBytes)
		_, _, err = a.staging.Fetch(t.Context(), addr, Request{Region: "us", ID: named}, nil)
		if took := time.Since(began); !errors.Is(err, checkpoint.ErrSilent) || took > checkpoint.Silence+time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
	})
}

// TestAStateThatTakesLongToSumArrives (T5): whoever makes a copy says so, and is waited for. The node says what it
// waits for meanwhile.
func TestAStateThatTakesLongToSumArrives(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		a, b := start(t, net, "us-1"), start(t, net, "us-2")
		a.others = []string{"us-2"}
		b.begin("us")
		b.put(strings.Repeat("x", 3<<20))
		b.reading = checkpoint.Silence/2 - time.Minute // the end of a file is read, too, and is nothing to tell
		took := make(chan time.Duration, 1)
		began := time.Now()
		go func() {
			id, err := a.staging.fetchFrom(t.Context(), a.others, 1, 0) // a second time it would find what was made
			if err != nil {
				t.Error(err)
			}
			a.staging.Discard(id)
			took <- time.Since(began)
		}()
		time.Sleep(checkpoint.Silence)
		if says := a.staging.Awaits(); !strings.Contains(says, "waits for us-2, which makes a copy: ") ||
			!strings.Contains(says, "; nothing came for ") {
			t.Errorf("says %q", says)
		}
		if _, err := a.take(&Request{Region: "us"}); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("gives a copy of what it waits for: %v", err)
		}
		if d := <-took; d < 2*checkpoint.Silence || b.made.Load() != 1 {
			t.Errorf("after %v, of %d copies", d, b.made.Load())
		}
		b.reading = 0
		if _, err := a.staging.FetchOwn(1); err != nil {
			t.Error(err)
		}
		if says := a.staging.Awaits(); says != "" {
			t.Errorf("says %q, and waits for nothing", says)
		}
	})
}

// A node of the version before gives up before a large state is summed, and asks again: it finds the copy that was made
// for it, and not another that is begun. So does one that lost the connection.
func TestACopyWaitsForWhoCouldNotWaitForIt(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1")
		us.begin("us")
		us.put(strings.Repeat("x", 3<<20))
		us.reading = checkpoint.Silence
		var id string
		var err error
		for tries := 1; ; tries++ {
			ctx, cancel := context.WithTimeout(t.Context(), checkpoint.Silence)
			r := Request{Region: "eu", Have: eu.staging.Partial()}
			id, _, err = eu.staging.Fetch(ctx, "us-1", r, nil)
			if cancel(); err == nil {
				break
			}
			if tries > 10 {
				t.Fatal(err)
			}
		}
		if us.made.Load() != 1 {
			t.Errorf("%d copies were begun", us.made.Load())
		}
		eu.holds(id, []string{strings.Repeat("x", 3<<20)})
		us.reading = 0
		us.put("more")
		other, _, err := eu.staging.Fetch(t.Context(), "us-1", Request{Region: "eu"}, nil)
		if err != nil || other == id || us.made.Load() != 2 {
			t.Errorf("got %s again, %v", other, err)
		}
	})
}

// A copy that waits is of the region it was made for, and of what was asked for.
func TestACopyWaitsForNobodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		us.put("a")
		first, err := us.take(&Request{Region: "eu"})
		if err != nil {
			t.Fatal(err)
		}
		us.shelf.release(first)
		us.put("b")
		for _, c := range []struct {
			name string
			r    Request
			same bool
		}{
			{"the same region", Request{Region: "eu", Have: "00"}, true},
			{"another region", Request{Region: "ap"}, false},
			{"a node of the own region", Request{Region: "us"}, false},
			{"a later claim", Request{Region: "eu", MinEpoch: 1}, true},
		} {
			got, err := us.take(&c.r)
			if err != nil || (got == first) != c.same {
				t.Errorf("%s: the same %t, %v", c.name, got == first, err)
			}
			us.shelf.release(got)
		}
		us.noLog = contract.ErrNotReady
		if got, err := us.take(&Request{Region: "eu"}); err != nil || got == first {
			t.Errorf("given without a log behind it: %v", err)
		}
	})
}

// Two who ask at once wait for one copy, and who is gone waits for none.
func TestCopiesAreMadeOneAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us := start(t, net, "us-1")
		us.begin("us")
		us.hangs = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan *shelved, 3)
		for _, ctx := range []context.Context{t.Context(), ctx, ctx} {
			go func() {
				c, _ := us.shelf.take(ctx, &checkpoint.Line{Clock: clock.Real}, &Request{Region: "us"})
				got <- c
			}()
			virtual.Wait()
		}
		cancel()
		if a, b := <-got, <-got; a != nil || b != nil {
			t.Error("got a copy after the end of the stream")
		}
		close(us.hangs)
		if c := <-got; c == nil || us.made.Load() != 1 {
			t.Errorf("%d copies were begun", us.made.Load())
		}
	})
}

// Nodes of this version and of the one before give each other copies.
func TestTheVersionBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network) {
		us, eu := start(t, net, "us-1"), start(t, net, "eu-1"+elder)
		eu.begin("eu")
		eu.put("a")
		id, _, err := us.staging.Fetch(t.Context(), "eu-1"+elder, Request{Region: "us"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		us.holds(id, []string{"a"})
		us.begin("us")
		us.put("b")
		request := []byte(`{"region":"eu"}`)
		m, err := eu.staging.converse(t.Context(), checkpoint.Line{Clock: clock.Real}, "us-1", request, nil, nil)
		if err != nil || m.Bytes() == 0 {
			t.Errorf("took %v, %v", m, err)
		}
	})
}
