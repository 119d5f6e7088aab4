// Package delay keeps a region that shows its history late as far behind as it is told to. On the region's leader it
// notes in the region's log when more of the history came, by the leader's wall clock, and decides from there what is
// old enough to be shown: each is an entry, so that all nodes show the same, and a cut is before or behind all of it.
//
// It promises:
//
//   - Nothing is shown before it is as old as the delay, by the clocks of those who led the region, unless the log that
//     is held back is larger than its bound, or somebody ordered that all of it is shown.
//   - Nothing more is shown while somebody takes over at a place in what is not shown.
//   - What is shown at once is bounded, so that the region goes on to apply other entries, like its vote.
//   - What is shown, and what is not, is told apart by a position that only rises (with timeline).
//   - A point of time or a position is found only among what is not shown; it is refused with what is.
//
// It leaves to its neighbours: applying what is shown (region), keeping the log (wal, by what region has synced),
// cutting and moving (succession, primary).
package delay
