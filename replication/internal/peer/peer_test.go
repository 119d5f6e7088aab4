package peer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

const (
	fail = Question[int, string]("fail") // answered by the error of that number
	echo = Question[string, string]("echo")
)

// asked runs f with a client that asks a node which answers fail with one of failures, in a bubble.
func asked(t *testing.T, failures []error, f func(t *testing.T, c *Client)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		a, b := n.Node("a"), n.Node("b")
		r := NewRegistry(func() error { return nil }, nil)
		Handle(r, fail, Anyone, func(_ context.Context, i int) (string, error) { return "never heard", failures[i] })
		Handle(r, echo, Anyone, func(_ context.Context, s string) (string, error) { return s, nil })
		if err := b.Serve(map[string]transport.Handler{Service: r.Serve}); err != nil {
			t.Fatal(err)
		}
		f(t, NewClient(a))
		a.Close()
		b.Close()
	})
}

// wrapped is an error as some code may wrap it, and the kind that it has to arrive with.
type wrapped struct {
	err  error
	kind error
}

// everyWrap returns every kind, wrapped in every way that the code wraps errors.
func everyWrap() []wrapped {
	other := errors.New("disk on fire")
	list := []wrapped{{other, nil}, {fmt.Errorf("ask: %w", transport.ErrUnreachable), nil}}
	for i, k := range kinds {
		remote := &RemoteError{kind: k.err, text: "there: " + k.err.Error()}
		list = append(list,
			wrapped{k.err, k.err},
			wrapped{fmt.Errorf("seal: %w", k.err), k.err},
			wrapped{fmt.Errorf("%w: %w", k.err, other), k.err},
			wrapped{fmt.Errorf("%w: %w", other, k.err), k.err},
			wrapped{fmt.Errorf("%w: %w", transport.ErrUnreachable, k.err), k.err},
			wrapped{fmt.Errorf("ask b for begin: %w", remote), k.err},
			wrapped{errors.Join(other, k.err), k.err},
		)
		for j, o := range kinds {
			first := kinds[min(i, j)].err
			there := &RemoteError{kind: o.err, text: o.err.Error()}
			list = append(list,
				wrapped{fmt.Errorf("%w: %w", k.err, o.err), first},
				wrapped{fmt.Errorf("%w: did not begin: %w", k.err, there), first},
				wrapped{fmt.Errorf("%w: %w; aborting: %w", other, k.err, o.err), first},
				wrapped{errors.Join(k.err, o.err), first},
				wrapped{errors.Join(remote, there), first},
			)
		}
	}
	return list
}

func TestEveryKindArrives(t *testing.T) {
	list := everyWrap()
	failures := make([]error, len(list))
	for i, w := range list {
		failures[i] = w.err
	}
	asked(t, failures, func(t *testing.T, c *Client) {
		for range 2 {
			for i, w := range list {
				_, err := Ask(t.Context(), c, "b", fail, i)
				var remote *RemoteError
				if !errors.As(err, &remote) || remote.Error() != w.err.Error() {
					t.Fatalf("%q arrives as %q", w.err, err)
				}
				elsewhere := w.kind == contract.ErrNotLeader || w.kind == contract.ErrNotReady
				if Kind(err) != w.kind || Elsewhere(err) != elsewhere {
					t.Errorf("%q arrives as %v, want %v; elsewhere %t", w.err, Kind(err), w.kind, Elsewhere(err))
				}
				again := fmt.Errorf("%w: %w", err, contract.ErrNotReady) // the weakest: it changes no kind
				if w.kind != nil && Kind(again) != w.kind {
					t.Errorf("%q, wrapped once more, is %v", w.err, Kind(again))
				}
			}
		}
	})
}

// hop returns what err is at the next node.
func hop(t *testing.T, err error) error {
	t.Helper()
	encoded, failure := encode(nil, err)
	if failure != nil {
		t.Fatal(failure)
	}
	return decode(encoded, nil)
}

// A question that is passed on crosses twice: the error of the second node is an error of the first.
func TestAKindSurvivesTheSecondNode(t *testing.T) {
	for _, w := range everyWrap() {
		if err := hop(t, fmt.Errorf("passed on: %w", hop(t, w.err))); Kind(err) != w.kind {
			t.Errorf("%q arrives as %v, want %v", w.err, Kind(err), w.kind)
		}
	}
}

// Which kind an error has does not depend on chance.
func TestAKindIsAlwaysTheSame(t *testing.T) {
	for _, w := range everyWrap() {
		for range 20 {
			if got := Kind(w.err); got != w.kind {
				t.Fatalf("%q is %v, want %v", w.err, got, w.kind)
			}
		}
	}
}

func TestKindsHaveNamesOfTheirOwn(t *testing.T) {
	for i, k := range kinds {
		if kindNamed(k.name) != k.err || nameOf(k.err) != k.name {
			t.Errorf("kind %d, %s, is found as %v and %s", i, k.name, kindNamed(k.name), nameOf(k.err))
		}
	}
	if kindNamed("of a newer version") != nil || kindNamed("") != nil {
		t.Error("an unknown name has a kind")
	}
}

func TestNobodyThereIsElsewhere(t *testing.T) {
	asked(t, nil, func(t *testing.T, c *Client) {
		if _, err := Ask(t.Context(), c, "c", echo, "x"); !Elsewhere(err) {
			t.Errorf("nobody listens: %v", err)
		}
		if got, err := Ask(t.Context(), c, "b", echo, "x"); got != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		unknown, wrong := Question[int, int]("nobody answers this"), Question[string, string](fail)
		if _, err := Ask(t.Context(), c, "b", unknown, 1); Kind(err) != contract.ErrRejected {
			t.Errorf("an unknown question: %v", err)
		}
		if _, err := Ask(t.Context(), c, "b", wrong, "no number"); Kind(err) != contract.ErrMessage {
			t.Errorf("a malformed question: %v", err)
		}
	})
}

// An order whose answer is lost may have been carried out; one that reached nobody was not.
func TestWhatBecameOfAnOrder(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const silent = Question[int, int]("silent")
		n := memory.NewNetwork(clock.Real, 1)
		a, b := n.Node("a"), n.Node("b")
		over := contract.ErrClosed
		r, ended := NewRegistry(func() error { return nil }, nil), NewRegistry(func() error { return over }, nil)
		Handle(r, silent, Anyone, func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		Handle(r, fail, Anyone, func(context.Context, int) (string, error) {
			return "", fmt.Errorf("meanwhile: %w", over)
		})
		if err := b.Serve(map[string]transport.Handler{Service: r.Serve}); err != nil {
			t.Fatal(err)
		}
		z := n.Node("z")
		if err := z.Serve(map[string]transport.Handler{Service: ended.Serve}); err != nil {
			t.Fatal(err)
		}
		c := NewClient(a)
		check := func(when string, err, want error, lost bool) {
			t.Helper()
			if Kind(err) != want || Lost(err) != lost || Elsewhere(err) != (want == contract.ErrNotReady) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		order := func(ctx context.Context, addr string, q Question[int, int]) error {
			_, err := Order(ctx, c, addr, q, 1)
			return err
		}
		check("nobody listens", order(t.Context(), "nobody", silent), contract.ErrNotReady, false)
		check("it has ended", order(t.Context(), "z", silent), contract.ErrNotReady, false)
		check("it does not know that", order(t.Context(), "b", "other"), contract.ErrRejected, false)
		check("it ends meanwhile", order(t.Context(), "b", Question[int, int](fail)), contract.ErrUnknownOutcome, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		check("no time is left", order(ctx, "b", silent), contract.ErrUnknownOutcome, true)
		check("no time was left", order(ctx, "b", silent), contract.ErrNotReady, false)
		cancel()
		time.AfterFunc(time.Second, func() { n.Crash("b") })
		check("it dies", order(t.Context(), "b", silent), contract.ErrUnknownOutcome, true)
		for _, tr := range []transport.Transport{a, b, z} {
			tr.Close()
		}
	})
}
