//go:build race

package wal

// raceShare is which share of what is repeated is run under the race detector: one of so many. A log has no goroutine
// of its own, and what is repeated calls it from one: the detector has nothing to see there.
const raceShare = 20
