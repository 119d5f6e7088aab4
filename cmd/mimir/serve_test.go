package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// The runtime keeps to the limit of the settings, unless the environment has one, or says that there is none.
func TestTheRuntimeKeepsToTheLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, c := range []struct {
		environment string
		limit, want int64
	}{{"", 0, math.MaxInt64}, {"", 8 << 30, 8 << 30}, {"off", 8 << 30, math.MaxInt64}, {"3GiB", 8 << 30, 3 << 30}} {
		t.Setenv("GOMEMLIMIT", c.environment)
		began := int64(math.MaxInt64) // as the runtime begins with that
		if c.environment == "3GiB" {
			began = 3 << 30
		}
		debug.SetMemoryLimit(began)
		limitMemory(c.limit)
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("limit %d with GOMEMLIMIT=%s: %d, want %d", c.limit, c.environment, got, c.want)
		}
	}
}
