// Package etcd takes what an etcd keeps into a new fleet, and gives what a fleet keeps back to etcd.
//
// It promises:
//
//   - E1: what is imported is what etcd would serve of the same file: every revision that is not compacted, with create
//     revisions, versions and leases; users, roles, and whether they count.
//   - E2: what is exported `etcdutl snapshot restore` takes, and an etcd that begins with it serves the same.
//   - E3: a file is a stranger's bytes: it is taken whole or not at all, and what is wrong with it is said (ErrBroken,
//     kv.ErrForeign, auth.ErrForeign).
//
// It leaves to its neighbours: the format of the file (backup/bolt), how contents lie on our disk (kv), and how a
// region begins with one (replication, server). Alarms and members are not taken: they are of that cluster.
package etcd
