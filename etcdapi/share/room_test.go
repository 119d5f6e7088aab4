package share

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Whoever comes, waits and leaves: no more is held than there is room for, who is alone has whatever is taken, all come
// in at last, and nothing stays in the books.
func TestAllComeInAndLeave(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		b := New(1 << 20)
		r := rand.New(rand.NewPCG(1, 2))
		type held struct {
			release chan func()
			cancel  func()
		}
		var all []held
		for range 2000 {
			if len(all) > 0 && r.IntN(5) < 2 {
				n := r.IntN(len(all))
				one := all[n]
				all[n] = all[len(all)-1]
				all = all[:len(all)-1]
				if r.IntN(4) == 0 {
					one.cancel()
				}
				virtual.Wait()
				select {
				case release := <-one.release:
					release()
				default:
					all = append(all, one)
				}
				virtual.Wait()
				continue
			}
			address := fmt.Sprintf("10.0.0.%d:1", r.IntN(5))
			if r.IntN(2) == 0 {
				address = fmt.Sprintf("[2001:db8:%x:%x::1]:1", r.IntN(2), r.IntN(4))
			}
			ctx, cancel := context.WithCancel(t.Context())
			one := held{make(chan func(), 1), cancel}
			all = append(all, one)
			bytes := 1 + r.Int64N(b.Alone()>>r.IntN(8))
			go func() {
				release, err := b.Acquire(ctx, address, bytes)
				if err != nil {
					release = func() {}
				}
				one.release <- release
			}()
			virtual.Wait()
			if b.all.held > b.most {
				t.Fatalf("%d bytes are held", b.all.held)
			}
		}
		for len(all) > 0 {
			in := false
			for n := len(all) - 1; n >= 0; n-- {
				select {
				case release := <-all[n].release:
					release()
					in = true
					all[n].cancel()
					all = append(all[:n], all[n+1:]...)
				default:
				}
			}
			if virtual.Wait(); !in {
				t.Fatalf("%d wait for nobody", len(all))
			}
		}
		if b.all.held != 0 || len(b.all.parts)+len(b.waiting) != 0 {
			t.Errorf("left are %d bytes of %d, %d wait", b.all.held, len(b.all.parts), len(b.waiting))
		}
		release, err := b.Acquire(t.Context(), "10.0.0.1:1", b.Alone())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Acquire(ctx, "10.0.0.2:1", b.Alone()); err == nil || len(b.all.parts) != 1 {
			t.Errorf("who has left is one of %d: %v", len(b.all.parts), err)
		}
		release()
	})
}

// What is held whether there is room or not counts for all who ask, and a room may become another.
func TestWhatIsHeldWithoutRoom(t *testing.T) {
	r := New(70)
	fits := func(address string, most int64) {
		t.Helper()
		if !r.Fits(address, most) || r.Fits(address, most+1) {
			t.Errorf("%s: no %d fit, or more", address, most)
		}
	}
	fits("10.0.0.1:1", r.Alone())
	r.Hold("10.0.0.1:1", 100)
	if r.Fits("10.0.0.2:1", 1) || r.Fits("10.0.0.1:2", 0) {
		t.Error("there is room where there is none")
	}
	r.Hold("10.0.0.1:2", -65)
	fits("10.0.0.1:1", r.Alone()-35)
	fits("10.0.0.2:1", 20)
	r.Bound(35)
	if r.Fits("10.0.0.2:1", 1) {
		t.Error("there is room beyond what there is now")
	}
	r.Hold("10.0.0.1:3", -35)
	if fits("10.0.0.2:1", 20); len(r.all.parts) != 0 || r.all.held != 0 {
		t.Errorf("%d are held of %d", r.all.held, len(r.all.parts))
	}
}
