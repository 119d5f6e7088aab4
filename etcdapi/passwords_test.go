package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi/share"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

var errWrong = errors.New("wrong")

// Whoever tries passwords has a tenth of a processor, however many he tries at a time, and keeps no other address
// waiting but for the hash that is being made.
func TestTryingPasswordsCostsLittle(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const hashTime = 50 * time.Millisecond
		p := newPasswords(clock.Real, slog.New(slog.DiscardHandler), DefaultFailureRest)
		var hashes atomic.Int64
		try := func(ctx context.Context, from, user string, err error) error {
			return p.check(ctx, from, user, func() error {
				hashes.Add(1)
				time.Sleep(hashTime)
				return err
			}, func(err error) bool { return errors.Is(err, errWrong) })
		}
		const client = "[2001:db8:1:2::77]:7"
		if err := try(t.Context(), client, "root", nil); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var strangers sync.WaitGroup
		var refused atomic.Int64
		for i := range 2 * mostWaiting {
			strangers.Go(func() {
				for ctx.Err() == nil {
					// Each with another port, and another address of his network.
					from := fmt.Sprintf("[2001:db8:1:2::%x]:%d", i, 1000+i)
					if err := try(ctx, from, "root", errWrong); status.Code(err) == codes.ResourceExhausted {
						refused.Add(1)
						time.Sleep(time.Second)
					}
				}
			})
		}
		time.Sleep(10 * time.Second)
		for _, other := range []struct{ what, from, user string }{
			{"another address", "192.0.2.1:99", "root"}, {"another user of the address", client, "ann"},
		} {
			before := time.Now()
			if err := try(t.Context(), other.from, other.user, nil); err != nil || time.Since(before) > 4*hashTime {
				t.Errorf("%s waited %s: %v", other.what, time.Since(before), err)
			}
		}
		strangers.Wait()
		if n := hashes.Load(); n < 20 || n > int64(20*time.Second/hashTime/10)+16 {
			t.Errorf("%d hashes in 20 s", n)
		}
		if refused.Load() == 0 {
			t.Error("nobody was refused, however many wait")
		}
		time.Sleep(failureMemory)
		before := time.Now()
		if err := try(t.Context(), "[2001:db8:1:2::7]:7", "root", nil); err != nil || time.Since(before) != hashTime {
			t.Errorf("what was long ago is remembered: %s, %v", time.Since(before), err)
		}
	})
}

// What is remembered of strangers is bounded, and those for whom there was no room are not free of it.
func TestStrangersAreForgotten(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := newPasswords(clock.Real, slog.New(slog.DiscardHandler), DefaultFailureRest)
		fail := func(i int) {
			p.failed(trier{share.Network(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)), "root"}, time.Second)
		}
		for i := range mostTriers + 1<<8 {
			fail(i)
		}
		if n := len(p.suspects); n > mostTriers+1 {
			t.Errorf("%d are remembered", n)
		}
		if p.rest(trier{share.Network("10.0.16.255:1"), "root"}) <= 0 {
			t.Error("an address for which there was no room does not rest")
		}
		time.Sleep(2 * failureMemory)
		fail(1 << 20)
		if n := len(p.suspects); n != 1 {
			t.Errorf("%d are remembered in the end", n)
		}
	})
}

// What is remembered of a stranger is not as long as the name that he gives.
func TestLongNamesAreNotKept(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := newPasswords(clock.Real, slog.New(slog.DiscardHandler), DefaultFailureRest)
		for i := range 100 {
			name := strings.Repeat("n", 64<<10) + fmt.Sprint(i)
			err := p.check(t.Context(), fmt.Sprintf("10.0.0.%d:1", i), name, func() error { return errWrong },
				func(error) bool { return true })
			if !errors.Is(err, errWrong) {
				t.Fatal(err)
			}
		}
		kept := 0
		for who := range p.suspects {
			kept += len(who.user)
		}
		if len(p.suspects) != 100 || kept > 100*auth.MaxNameBytes {
			t.Errorf("%d bytes are kept of the names of %d strangers", kept, len(p.suspects))
		}
	})
}

// Whoever has logged in lately is believed to be himself, a few wrong passwords long, whatever else comes from his
// address; and of an address no more users are told apart than a few.
func TestWhoHasLoggedInIsNotKeptWaiting(t *testing.T) {
	p := newPasswords(clock.Real, slog.New(slog.DiscardHandler), DefaultFailureRest)
	ann, bob := trier{"192.0.2.1", "ann"}, trier{"192.0.2.1", "bob"}
	p.passed(ann, true)
	for i := range 100 {
		p.failed(trier{"192.0.2.1", fmt.Sprint(i)}, time.Second)
	}
	if n := len(p.suspects); n != mostOfAddress+1 {
		t.Errorf("%d of one address are remembered", n)
	}
	if p.rest(bob) <= 0 || !p.suspected(bob) {
		t.Error("one user more of the address is no suspect")
	}
	for i := range passCredit {
		if p.rest(ann) > 0 || p.suspected(ann) {
			t.Errorf("who had logged in rests after %d wrong passwords", i)
		}
		p.failed(ann, time.Second)
	}
	if p.failed(ann, time.Second); p.rest(ann) <= 0 {
		t.Error("whoever logged in once may try for ever")
	}
}
