//go:build !race

package checkpoint_test

// raceShare is which share of what is repeated is run: all of it. The test command runs these tests both with the race
// detector, which makes them ten times slower, and without it.
const raceShare = 1
