// Package replays has a node replay what a failover cut off, for an operator who follows it: the guided replay of the
// console.
//
// It promises:
//
//   - How a tail is decided and done again is not its business: an [Engine] does it, the very one of `mimir tail diff`
//     and `mimir tail replay`, in the name of whoever ordered it and by no right but his.
//   - A replay is told from its beginning on: what it does, how far it is, since when nothing moved; and at the end
//     what became of each write, as far as is kept, or where it stopped and why. It goes on when nobody follows it.
//   - Nothing is done to another primary than the one that was confirmed, by region and epoch: if that is another when
//     it begins it is refused, and if that moves meanwhile it stops.
//   - One at a time on a node, and none beside one that another node tells of. Two at once would do no harm, since
//     each write is done only where it still applies; they would each tell half of what happened.
//   - It ends: when it is done, stopped, too late ([DefaultLasts]), or the node ends. Run again it goes on where it
//     was.
//
// What is kept of a replay is bounded, holds keys and values, and is for operators alone.
package replays
