package virtual_test

import (
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Timers that are due when they are set, and timers that became due while nobody looked, in many goroutines at once:
// with a second processor the race detector does not live through a tenth of it.
func TestTheRaceDetectorSurvivesTimers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 2000 {
					time.AfterFunc(0, func() {}).Stop()
					due := time.NewTimer(time.Nanosecond)
					time.Sleep(10 * time.Nanosecond)
					<-due.C
				}
			})
		}
		all.Wait()
	})
}
