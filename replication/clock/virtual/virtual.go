package virtual

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// Test runs f in a bubble, as synctest.Test does. With the race detector, the whole process runs on one processor from
// then on.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raced {
		runtime.GOMAXPROCS(1)
	}
	synctest.Test(t, f)
}

// Wait waits until every other goroutine of the bubble waits for another one or for time, as synctest.Wait does.
func Wait() { synctest.Wait() }
