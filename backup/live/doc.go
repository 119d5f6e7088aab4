// Package live brings what is written to a running etcd into a fleet that began with a snapshot of it, until clients
// move over.
//
// It promises:
//
//   - L1: each revision of the etcd is one revision of the fleet, with the same number and the same changes in the same
//     order, or [Follow] ends and says why. Versions and create revisions are compared where it is applied.
//   - L2: what was applied is asked of the fleet and kept nowhere else. Killed at any point and started again, it goes
//     on behind that; nothing is applied twice, whoever else tries.
//   - L3: a lease is there before a key is attached to it, has the time that the etcd granted, and ends when it has
//     ended there, after the deletions that the etcd made of it.
//   - L4: [Finish] opens the fleet to clients only when the etcd has nothing that the fleet has not, by the etcd's own
//     word before and after they were compared.
//
// What is held in memory is bounded, whatever the etcd has, but for what one of its transactions changed.
//
// It leaves to its neighbours: that nobody else writes meanwhile, and that no lease ends by itself (kv); the protocol
// with the node (etcdapi/follow); the snapshot (backup/etcd). Users and roles are not followed: the passwords' hashes
// are in snapshots alone. A change of them ends it.
package live
