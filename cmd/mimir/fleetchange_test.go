package main

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// A budget below zero is none, but for -1: it would be kept as a number that nobody means.
func TestWhatIsNoBudget(t *testing.T) {
	for n, want := range map[int64]bool{-2: false, -5: false, math.MinInt64: false, math.MaxInt32 + 1: false,
		-1: true, 0: true, 10_000: true, math.MaxInt32: true} {
		err := checkLoss(n)
		said := err == nil || errors.Is(err, errUsage) && strings.Contains(err.Error(), "--max-loss")
		if (err == nil) != want || !said {
			t.Errorf("%d: %v", n, err)
		}
	}
}
