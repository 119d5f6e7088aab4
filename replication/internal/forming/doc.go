// Package forming is how a node whose data directory is empty, or was sown and not used since, comes to take part in
// its region. It has forgotten whatever it may have promised and acknowledged there, and so have others that are empty:
// what the region acknowledged may be on a node that does not answer.
//
// It promises (invariant 1) that such a node hears nobody and votes for nobody until it knows that this disk, and no
// other of its own, is the one that the region counts on:
//
//  1. every other node says that its disk is empty too, or sown: the region is formed, with these disks;
//  2. or a node of the region says that it was formed with this very disk among them;
//  3. or so many nodes with data, all of one life of the region, say that they do not know this one that one of them is
//     in every majority of the region with it: it was never there;
//  4. or a majority of the region is empty, nobody who answers holds anything, and it is the first day of the fleet,
//     as the other regions say (firstDay), or an operator, who vouches for those that do not answer (Form).
//
// By 4 the region is formed without some of its nodes, and says so from then on (recall.Part.Left): one of them that
// comes with an empty disk joins, by 3; one that comes with data is not heard, and ends.
//
// Nodes that are sown form it only with others that are sown alike, and that are a majority, so that nobody leads it
// who has nothing. What they hold is of no region that lives: by 3 they join none.
//
// What it noted and cannot make durable it takes back before it decides anew, so that no next process of this node goes
// by what this one does not; a power cut may bring that back. Where it cannot be taken back the node ends. Who was only
// not waited for, since an order or the node ended, does not count as one that does not answer, nor does an order leave
// out who could not be reached once (peer.SilentFor), nor by what a transport remembers of him (peer.Anew).
//
// A node that says that it knows this one with data, or that it was removed, ends it.
//
// A node that is of the region and does not know how that was formed learns it of who it leads, or who leads it
// (Learn).
//
// It leaves to its neighbours what a directory says of itself and how that is noted (replication), and disks that went
// back (recall).
package forming
