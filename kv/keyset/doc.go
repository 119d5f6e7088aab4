// Package keyset counts keys: how many of an interval existed at a revision, without a walk over them.
//
// An [Index] knows no keys but one in about a hundred, where its blocks begin, and of each block how many keys it had,
// as a series of changes: a key began to exist, or ceased to. Blocks lie in groups, which have such a series too. So a
// count is a sum over whole groups and blocks, whatever the revision, and at both ends of the interval a part of a
// block, which is left to whoever reads from disk.
//
// It promises:
//
//   - K1: each key is in the interval of one block, and the blocks are in order.
//   - K2: where all blocks of a group are known, the group counts what they count.
//   - K3: what [Index.Count] returns, with what existed in the rest at that revision, is exact, also while changes are
//     added and blocks are looked at; what it counts at a revision never changes.
//   - K4: it takes about as many bytes as it counts for itself, and after [Index.Fit] tends to its budget: the oldest
//     history goes first, and is part of the rest from then on. What is looked at to count is bounded in keys and in
//     history, by the budget too.
//   - K5: what [Index.Young] leaves out has no key that is young, and no part that [Index.Made] tells of one that is
//     younger than it says, nor leaves out one that existed. It knows of each block when one of its keys was last
//     changed, and when one last began to exist.
//
// [Flips] are what no index has yet: changes of a batch that is being made, which is counted while it grows.
//
// It leaves to its neighbours: which keys exist (kv tells it of each change), reading keys from disk
// when a block is unknown or became too wide ([Index.Begin]), and when what is old need not be known any more.
package keyset
