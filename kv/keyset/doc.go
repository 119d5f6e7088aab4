// Package keyset is the ordered set of the keys that exist at one revision. It counts those of an interval in
// logarithmic time, which spares a range with a limit the walk over all of its keys.
//
// It promises, of a [Set], which is a B+-tree whose nodes know how many keys are under them:
//
//   - K1: the keys of a leaf are in order, each once, and it counts them.
//   - K2: an inner node has a bound for each child, in order; what is under a child lies from its bound to the next;
//     the node counts what its children count.
//   - K3: all leaves are at one depth. No node is larger than it may be, and none but the root is empty.
//   - K4: a set that was made never changes: an [Edit] copies the nodes that it touches. So whoever holds a set
//     counts at its revision for ever, on any goroutine.
//
// It leaves to its neighbours: which keys exist (kv tells it of each that begins or ceases to), at which revision,
// how many are too many, and reading them from disk. It knows nothing but strings.
package keyset
