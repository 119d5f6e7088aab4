package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// No more than mostMaking answers that are not small are made at a time, each with up to madeBytes that are not
// counted: the next one waits for its turn, and for nothing else. Small ones do not wait.
func TestAnswersWaitForTheirTurn(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		a := newAnswers(8 * madeBytes)
		var made []*answer
		for range mostMaking {
			one := a.begin(t.Context())
			if err := one.take(madeBytes - 1); err != nil {
				t.Fatal(err)
			}
			made = append(made, one)
		}
		if a.bytes != 0 {
			t.Errorf("%d bytes are counted", a.bytes)
		}
		small := a.begin(t.Context())
		if err := small.take(countedBytes - 1); err != nil {
			t.Errorf("a small one: %v", err)
		}
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- a.begin(ctx).take(countedBytes) }()
		next := a.begin(t.Context())
		turn := make(chan error, 1)
		go func() { turn <- next.take(countedBytes) }()
		virtual.Wait()
		if len(turn)+len(left) != 0 {
			t.Fatal("more are made than may be")
		}
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("one whose client has left: %v", err)
		}
		made[0].made() // and it is being sent
		if err := <-turn; err != nil {
			t.Fatal(err)
		}
		next.close()
		if err := made[0].take(8 * madeBytes); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("one that takes more than all may: %v", err)
		}
		for _, one := range append(made, small) {
			one.close()
		}
		if a.bytes != 0 || !a.making.TryAcquire(mostMaking) {
			t.Errorf("%d bytes are counted in the end, or a turn was not given back", a.bytes)
		}
	})
}

// What is small is not refused for what others have left, up to half as much again as all together may; then it is, and
// of streams it waits, also what is only about to be made.
func TestWhatIsSmallIsBoundedInAll(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const limit, small = 8 * madeBytes, madeBytes / 2
		a := newAnswers(limit)
		of := func(i int) sender { return sender{connection: fmt.Sprint(i)} }
		n := 0
		for ; a.reserve(of(n), small) == nil; n++ {
			if n > 1000 {
				t.Fatal("there is no bound")
			}
		}
		if n < limit/small || a.bytes > limit+limit/2 {
			t.Fatalf("%d connections have left %d bytes, the limit is %d", n, a.bytes, limit)
		}
		if err := a.reserve(of(n), small); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("one more: %v", err)
		}
		sent := make(chan int, 3*n)
		var senders sync.WaitGroup
		for i := range 3 * n { // each has its message made
			senders.Go(func() {
				if a.await(t.Context(), of(n+i), small) == nil {
					sent <- n + i
				}
			})
		}
		virtual.Wait()
		made := make(chan error, 1)
		go func() { made <- a.await(t.Context(), of(0), 0) }()
		go func() { made <- a.await(t.Context(), of(9999), 0) }()
		virtual.Wait()
		if len(sent) != 0 || len(made) != 0 || a.pending != int64(3*n)*small {
			t.Fatalf("%d sent, %d are made further, %d bytes wait", len(sent), len(made), a.pending)
		}
		for i := range n {
			a.free(of(i).connection, small)
			virtual.Wait()
			if a.bytes > limit+limit/2 {
				t.Fatalf("%d bytes", a.bytes)
			}
		}
		for range 3 * n {
			a.free(of(<-sent).connection, small)
			virtual.Wait()
		}
		senders.Wait()
		if err := errors.Join(<-made, <-made); err != nil || a.bytes != 0 || a.pending != 0 || len(a.unread) != 0 {
			t.Errorf("%d bytes are left, %d wait: %v", a.bytes, a.pending, err)
		}
	})
}

// What clients leave unread of one address, over however many connections, leaves something for others.
func TestAnAddressLeavesSomethingForOthers(t *testing.T) {
	const limit, small = 8 * madeBytes, madeBytes / 2
	a, n := newAnswers(limit), 0
	for ; a.reserve(sender{connection: fmt.Sprintf("10.0.0.1:%d", n)}, small) == nil; n++ {
		if n > 1000 {
			t.Fatal("there is no bound")
		}
	}
	if n*small < limit/2 {
		t.Errorf("%d connections have left all that may be, of %d bytes each", n, small)
	}
	for _, bytes := range []int64{madeBytes, small} {
		if err := a.reserve(sender{connection: "10.0.0.2:1"}, bytes); err != nil {
			t.Errorf("%d bytes of another address: %v", bytes, err)
			continue
		}
		a.free("10.0.0.2:1", bytes)
	}
	for i := range n {
		a.free(fmt.Sprintf("10.0.0.1:%d", i), small)
	}
	if !a.sources.Fits("10.0.0.2:1", a.sources.Alone()) || a.bytes != 0 || len(a.unread) != 0 {
		t.Errorf("%d bytes are left of %d connections", a.bytes, len(a.unread))
	}
}

// An address that has left nothing gets all that is free, however little others have left; one that has left something
// no more than its share, nor has another network of its site.
func TestWhoHoldsNothingGetsAllThatIsFree(t *testing.T) {
	const limit = 64 * madeBytes
	const free = limit - 2*smallBytes
	a := newAnswers(limit)
	a.count("10.0.0.1:1", smallBytes)
	a.count("[2001:db8:0:1::1]:1", smallBytes)
	for _, c := range []struct {
		from  string
		bytes int64
		fits  bool
	}{
		{"10.0.0.2:1", free, true}, {"10.0.0.2:1", free + 1, false}, {"[2001:db8:1::1]:1", free, true},
		{"10.0.0.1:2", limit * 9 / 10, false}, {"[2001:db8:0:2::1]:1", limit * 9 / 10, false},
	} {
		err := a.reserve(sender{connection: c.from}, c.bytes)
		if fits := err == nil; fits != c.fits {
			t.Errorf("%d bytes of %s: %v", c.bytes, c.from, err)
		}
		if err != nil {
			continue
		}
		if err := a.reserve(sender{connection: "10.0.0.3:1"}, madeBytes/2); err != nil {
			t.Errorf("beside them nothing is left for others: %v", err)
		} else {
			a.free("10.0.0.3:1", madeBytes/2)
		}
		a.free(c.from, c.bytes)
	}
}

// Through the JSON gateway, which holds an answer three times, it is a third of that.
func TestWhoHoldsNothingGetsAllThatIsFreeOverJSON(t *testing.T) {
	const limit, large = 64 * madeBytes, 20 * madeBytes
	a := newAnswers(limit)
	a.count("10.0.0.1:1", smallBytes)
	of := sender{"10.0.0.2:1", &gatewayRequest{}}
	if err := a.reserve(of, large*of.copies()); err != nil {
		t.Error(err)
	}
}

// A little is sent whatever others have left unread, to who has left nothing.
func TestALittleIsNotHeldUp(t *testing.T) {
	const limit, small = 8 * madeBytes, madeBytes / 2
	a, n := newAnswers(limit), 0
	for ; a.reserve(sender{connection: fmt.Sprintf("10.0.%d.1:1", n)}, small) == nil; n++ {
		if n > 1000 {
			t.Fatal("there is no bound")
		}
	}
	a.count("10.1.0.1:1", small) // what cannot be refused
	gone, leave := context.WithCancel(t.Context())
	leave()
	for from, want := range map[string]error{"10.2.0.1:1": nil, "10.1.0.1:1": context.Canceled} {
		if err := a.await(gone, sender{connection: from}, trifleBytes); !errors.Is(err, want) {
			t.Errorf("%s: %v", from, err)
		}
	}
}
