package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// The runtime keeps to the limit of the settings, unless the environment has one.
func TestTheRuntimeKeepsToTheLimit(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, step := range []struct{ limit, want int64 }{{0, math.MaxInt64}, {8 << 30, 8 << 30}, {4 << 30, 8 << 30}} {
		limitMemory(step.limit)
		if got := debug.SetMemoryLimit(-1); got != step.want {
			t.Errorf("limit %d: %d, want %d", step.limit, got, step.want)
		}
	}
}
