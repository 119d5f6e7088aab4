// Package front is what clients of a node of a partial region get: the etcd API over the keys that it follows.
//
// It promises:
//
//   - F1: what names a key that has none of the prefixes is refused, and never answered as if nothing were there. What
//     is not known to be about these keys alone is refused too: every call that is not in the table of this package.
//   - F2: a linearizable read asks the fleet how far it is, and answers from here once this node has come to that. A
//     serializable one, and a watch, are answered from here alone.
//   - F3: a write goes to the fleet as it is, in the name of who asks, and is never tried twice. Its answer waits a
//     moment until it can be read here.
//   - F4: where users and roles are enabled, the fleet is asked before anything is read or watched here, in the name of
//     who asks. A node of it counts only if its users and roles are no older than those that were heard of here, and
//     what is read while others are heard of is judged anew.
//
// It leaves to its neighbours what the answers are (etcdapi, over the store of this node) and what comes into the store
// (partial).
package front
