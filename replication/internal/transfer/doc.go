// Package transfer moves copies of whole states between nodes: to a region that cannot follow the log of its source,
// and between the nodes of one region.
//
// [Shelf] makes copies of this node's state for others and serves them. [Staging] has the copies of other states that
// came here, until they are installed or of no use.
//
// It promises:
//
//   - T1. A copy has one identity everywhere, and content and description do not change under it. A transfer that
//     broke off goes on where it stopped, if the same copy is still there to be had; another copy takes over the files
//     that it has as well.
//   - T2. A copy that is staged is complete and durable (invariant 13). It stays until [Staging.Discard], or until no
//     leader can propose any more that it be installed (terms never fall in a log) and no later one has asked for what
//     is held: what a leader had fetched and did not come to install, the next one need not fetch again. What would
//     bring nothing any more, whole or in part, goes after ten minutes.
//   - T3. A copy fits what was asked for: the region of its origin knows it as no older than the index or the claim
//     that the asking side named, and a region whose history has a fork gives its state to nobody else, nor more of
//     what it had begun to give and is no part of its history any more. Who asks looks at the description first: of
//     what is of no use to him nothing comes.
//   - T4. Log is kept behind a copy for another region from before it is made and while it is taken, as far as the
//     bound goes (slots). A copy from which no log leads on is not given again.
//   - T5. Nobody waits for a node that hangs: whoever makes, sums or looks through a copy says so as long as it gets
//     on, and who says nothing is given up. However large a state is, it arrives: what was made for somebody who could
//     not wait is kept for him, what has come is read once, and of what is given those files that never change, where
//     the filesystem tells them apart.
//   - T6. Of a state that is known to be another than its region's nothing is given, nor more of what was begun before
//     that was known; and nothing of what was here once the state of another node took its place. A copy says who gave
//     it, so that whoever is about to install it can ask whether that is known by now ([AskGiver]).
//   - T7 (invariant 13). What is not what was written, as far as the storage can tell, is given to nobody, nor counted
//     on by whoever gets it all the same; whoever holds it is told. A giver of whose copy something else arrives than
//     he summed reads all of the next one again. Who gave a damaged state is asked behind the others.
//   - T8. A copy that lies here is counted on only if it is what came: one that an earlier process received is read
//     before that, and one that somebody did not get as it came is read again. What is not what came is removed,
//     and so is what cannot be read again and again.
//
// Whoever takes a copy can tell how far that is, and whoever makes one tells the region for which it is.
//
// It leaves to its neighbours: what a copy is (copies), how its files travel (checkpoint), when one is needed
// (secondary, region), and installing it (region).
package transfer
