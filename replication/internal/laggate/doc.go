// Package laggate slows down writes, and then refuses them, while too few other regions keep up with the primary: what
// a lost primary takes along is bounded by what the others may be behind.
//
// It promises:
//
//   - G1. While as many regions as are asked for are within both bounds, it says nothing. Between the bounds it has
//     batches wait for each other, the longer the further the region is behind that would have to be within; at the
//     second bound, writes are refused, and nothing of them was written.
//   - G2. What it takes a region to be behind is never less than what that has not acknowledged to this leader, but for
//     what was written since the last look (every fifth of a second), and in time for what was written before this node
//     led with limits. A region that has acknowledged nothing since this reign began counts as one that has everything
//     before.
//   - G3. Limits are asked for anew at each look: who opens the gate has it open within a second.
//
// It decides nothing about votes and their budget of commands, which bounds what a failover loses exactly (votes), and
// holds back no control: moves, leases' ends and what regions tell each other go on. Where regions are is what slots
// knows; that batches wait is up to propose.
package laggate
