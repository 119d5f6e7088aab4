// Package auth holds users and roles with the meaning that etcd v3 gives to them: who may do what, and what the changes
// of both do.
//
// It promises:
//
//   - U1: a [State] does not change once it is published. Equal changes in equal order make equal states, and equal
//     records of them, on every node.
//   - U2: a change that is refused changes nothing, and is refused with etcd's error, found in etcd's order.
//   - U3: a range is permitted only if every key of it is, by one permission or by several together.
//   - U4: as long as authentication is off, everything is permitted, and nothing is looked up.
//   - U5: users, roles and permissions together take no more than [MaxBytes].
//   - U6: whoever asks and says which password he stands on ([State.Basis]) is refused once that is not his any more,
//     whoever found out who he is, and however late it is applied.
//   - Bytes on disk that are not what was written are [ErrCorrupt].
//
// It leaves to its neighbours: how requests and errors look as bytes (command), where records lie (mvcc), when a change
// is applied (kv), and tokens, certificates and passwords as clients send them (etcdapi).
package auth
