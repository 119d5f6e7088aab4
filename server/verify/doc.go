// Package verify compares what nodes hold, of all regions, while they run.
//
// It promises:
//
//   - Nodes are compared at one revision and behind one compaction, so that what is written meanwhile, and who is
//     behind, makes no difference: what it calls a difference is one between histories that must be equal (invariant
//     10). All versions that can be read or watched there are compared, with their revisions, versions and leases.
//
//   - The parts that are compared are those of one node, and the others sum the very same ranges: a key that only one
//     has is a difference. The first difference is narrowed down to the range from one key to the next.
//
//   - Who does not answer, or no longer, is named as not compared, and never taken for equal.
//
//   - What is in memory is bounded whatever the nodes hold, and so is what is summed for one answer, but for the
//     versions of one key. What is passed over is not: versions behind the revision, at a node that is far ahead of
//     another. The time of a question bounds that (admin).
//
//   - Leases, users and alarms have no revision: what is compared of them is what each node held at one position at
//     which all that are compared say that they held it.
//
//   - Who is so late that others have compacted what he shows is compared with those who are as late ([Cohorts]).
//
// It does not say who is right: [Difference] says who holds the same as whom. Which keys hang on a lease is compared
// as each version of a key has it, and not as the lease does.
//
// It leaves to its neighbours: the sums (kv), how a node is asked (admin), and what is made of a difference.
package verify
