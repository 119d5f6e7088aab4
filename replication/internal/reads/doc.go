// Package reads makes a read of this node's storage as fresh as it has to be, and puts the embedder's questions to the
// node that takes the fleet's writes.
//
// It promises:
//
//   - Invariant 2: after a linearizable barrier, what is applied here holds every write that was acknowledged anywhere
//     in the fleet before the call: the place that is waited for is one of a reign, and a region that has not that
//     reign in its history does not have it. One confirmation serves all reads that began before it, and none that
//     began after.
//   - Where what a failover may lose is bounded, a read that was begun and ended here tells nothing that is less safe
//     than what was acknowledged (B3): where nothing may be lost, nothing that a failover takes back. That costs no
//     question while what was read lies under what the primary said when the read began.
//   - In the region of the primary a serializable barrier waits for what this node told to be written, where it has not
//     applied that yet, a second at most. Beside that it costs nothing, but just after a start: it waits until
//     everything is applied that an earlier process of this node may have shown, or, where the region has no leader to
//     say what of its log was committed, what is known to have been.
//   - Invariant 6, its half: a node confirms a place only for a region that is entitled to be primary: not while a
//     handoff is open, not before every other region was asked, and not when one of them has a higher claim.
//
// It leaves to its neighbours agreement inside the region (raftgroup), who is primary (standing), and the data itself.
package reads
