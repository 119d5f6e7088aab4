package admin

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// However many ask how the fleet is, its nodes are asked so often at most; and who asks is told what was found out
// afterwards, and not what somebody else was told.
func TestManyWhoAskHowTheFleetIsShareALook(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var looks, now atomic.Uint64
		l := &looking{logger: slog.New(slog.DiscardHandler), look: func(context.Context) *replication.FleetStatus {
			looks.Add(1)
			told := &replication.FleetStatus{Epoch: replication.Epoch(now.Load())}
			time.Sleep(time.Second) // as long as a region that does not answer
			return told
		}}
		began := time.Now()
		const each, rounds = 100, 200
		done := make(chan bool, each*rounds)
		for range rounds {
			for range each {
				asked := now.Add(1)
				go func() {
					f, err := l.fleet(t.Context())
					done <- err == nil && uint64(f.Epoch) >= asked
				}()
			}
			time.Sleep(5 * time.Millisecond)
		}
		for range each * rounds {
			if !<-done {
				t.Fatal("one was told of before he asked, or not at all")
			}
		}
		if n, most := looks.Load(), uint64(time.Since(began)/lookEach)+1; n > most || n < 2 {
			t.Errorf("the fleet was asked %d times", n)
		}
		time.Sleep(time.Second)
		began = time.Now()
		if _, err := l.fleet(t.Context()); err != nil || time.Since(began) != time.Second {
			t.Errorf("who is alone waits %v: %v", time.Since(began), err)
		}
		left, leave := context.WithCancel(t.Context())
		leave()
		if _, err := l.fleet(left); !errors.Is(err, context.Canceled) {
			t.Errorf("who has left: %v", err)
		}
		time.Sleep(2 * time.Second)
		l = &looking{logger: l.logger, look: func(context.Context) *replication.FleetStatus { panic("a bug") }}
		if _, err := l.fleet(t.Context()); err == nil || !strings.Contains(err.Error(), "a bug") {
			t.Errorf("after a panic: %v", err)
		}
	})
}
