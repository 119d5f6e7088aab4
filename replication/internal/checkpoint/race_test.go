//go:build race

package checkpoint_test

// raceShare is which share of what is repeated is run under the race detector: one of so many. What is repeated differs
// in what a disk kept, and not in what runs beside what.
const raceShare = 3
