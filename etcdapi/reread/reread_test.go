package reread

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Who looks waits for a disk that hangs no longer than he has patience for, and nobody else waits at all; it is not
// looked again before it goes on, and then when it is time.
func TestNobodyWaitsForADiskThatHangs(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const every = time.Second
		hung := 0
		turn := Turn{Hung: func() { hung++ }}
		goOn, looks := make(chan struct{}), 0
		waits := func(look func()) time.Duration {
			began := time.Now()
			turn.Look(began, every, look)
			return time.Since(began)
		}
		look := func() { looks++ }
		if d := waits(look); d != 0 || looks != 1 {
			t.Errorf("the first: %v, %d looks", d, looks)
		}
		if d := waits(look); d != 0 || looks != 1 {
			t.Errorf("too early: %v, %d looks", d, looks)
		}
		time.Sleep(every)
		if d := waits(func() { <-goOn }); d != Patience {
			t.Errorf("where the disk hangs: %v", d)
		}
		time.Sleep(10 * every)
		if d := waits(look); d != 0 || looks != 1 || hung != 1 {
			t.Errorf("while it hangs: %v, %d looks, it is told %d times", d, looks, hung)
		}
		close(goOn)
		virtual.Wait()
		if d := waits(look); d != 0 || looks != 2 {
			t.Errorf("when it goes on: %v, %d looks", d, looks)
		}
		turn.Looked(time.Now())
		if waits(look); looks != 2 {
			t.Error("it was looked just now")
		}
	})
}
