//go:build !race

package kv

// raceEnabled says whether the race detector watches.
const raceEnabled = false
