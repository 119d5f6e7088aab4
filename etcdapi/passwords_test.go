package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock"
)

var errWrong = errors.New("wrong")

// Whoever tries passwords has a tenth of a processor, however many he tries at a time, and keeps no other address
// waiting but for the hash that is being made.
func TestTryingPasswordsCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hashTime = 50 * time.Millisecond
		p := newPasswords(clock.Real, slog.New(slog.DiscardHandler), DefaultFailureRest)
		var hashes atomic.Int64
		try := func(ctx context.Context, from string, err error) error {
			return p.check(ctx, from, func() error {
				hashes.Add(1)
				time.Sleep(hashTime)
				return err
			}, func(err error) bool { return errors.Is(err, errWrong) })
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
					if err := try(ctx, from, errWrong); status.Code(err) == codes.ResourceExhausted {
						refused.Add(1)
						time.Sleep(time.Second)
					}
				}
			})
		}
		time.Sleep(10 * time.Second)
		before := time.Now()
		if err := try(t.Context(), "192.0.2.1:99", nil); err != nil || time.Since(before) > 4*hashTime {
			t.Errorf("somebody else waited %s: %v", time.Since(before), err)
		}
		strangers.Wait()
		if n := hashes.Load(); n < 20 || n > int64(20*time.Second/hashTime/10)+16 {
			t.Errorf("%d hashes in 20 s", n)
		}
		if refused.Load() == 0 {
			t.Error("nobody was refused, however many wait")
		}
		time.Sleep(failureMemory)
		before = time.Now()
		if err := try(t.Context(), "[2001:db8:1:2::7]:7", nil); err != nil || time.Since(before) != hashTime {
			t.Errorf("what was long ago is remembered: %s, %v", time.Since(before), err)
		}
	})
}

// What is remembered of strangers is bounded, and those for whom there was no room are not free of it.
func TestStrangersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPasswords(clock.Real, slog.New(slog.DiscardHandler), DefaultFailureRest)
		fail := func(i int) {
			p.failed(network(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)), time.Second)
		}
		for i := range 2 * mostSuspects {
			fail(i)
		}
		if n := len(p.suspects); n > mostSuspects+1 {
			t.Errorf("%d are remembered", n)
		}
		if p.rest(network("10.0.31.255:1")) <= 0 {
			t.Error("an address for which there was no room does not rest")
		}
		time.Sleep(2 * failureMemory)
		fail(1 << 20)
		if n := len(p.suspects); n != 1 {
			t.Errorf("%d are remembered in the end", n)
		}
	})
}
