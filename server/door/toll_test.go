package door

import (
	"net"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Newcomers who come to nothing are let in more slowly once there are many of them, and never so slowly that a client
// among them waits for long; those who prove their worth are let in as they come.
func TestWhoComesToNothingIsLetInSlowly(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := open(t, Options{Most: 10_000, Strangers: 10_000})
		crowd := func(n int, each func(inside net.Conn)) time.Duration {
			began := time.Now()
			for range n {
				outside, err := h.street.DialContext(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for { // until it is inside
					h.mu.Lock()
					inside := h.inside
					h.inside = nil
					h.mu.Unlock()
					if len(inside) > 0 {
						each(inside[0])
						break
					}
					time.Sleep(time.Millisecond)
				}
				outside.Close()
			}
			return time.Since(began)
		}
		proves := func(inside net.Conn) { Prove(inside.RemoteAddr()); Prove(inside.RemoteAddr()) }
		if took := crowd(3*tollBurst, proves); took > 4*tollBurst*time.Millisecond {
			t.Errorf("clients took %v", took)
		}
		nothing := func(inside net.Conn) { inside.Close() }
		if took := crowd(tollBurst, nothing); took > 2*tollBurst*time.Millisecond {
			t.Errorf("as many as may come at once took %v", took)
		}
		const more = 10
		took := crowd(more*tollRate, nothing)
		if took < (more-2)*time.Second || took > more*tollRate*2*longestToll {
			t.Errorf("%d more took %v", more*tollRate, took)
		}
	})
}
