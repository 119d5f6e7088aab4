//go:build race

package wal

// raceShare is which share of what is repeated is run under the race detector: one of so many.
const raceShare = 5
