// Package backup brings the content of a fleet into a file and back.
//
// It promises:
//
//   - B1: a file that [Save] returns from without error is whole and durable, under its name; until then nothing is
//     there under that name that was not there before.
//
//   - B2: a file is a stranger's bytes. [Open] takes it only if all of it is what a node sent, and says otherwise what
//     is wrong; [Snapshot.Put] writes nothing that was not verified.
//
//   - B3: what is restored is a fleet of its own: it has another name, another cluster ID and another history than the
//     one that the file is of, and no token of that one counts in it.
//
//   - B4: nothing waits for ever: a node that says nothing for [Patience] is given up, and everything ends with its
//     context. What the disk or the caller did is not told as a fault of a file.
//
// It leaves to its neighbours: what the content means and how it lies on disk (kv), how a region begins with one
// (replication, server), the files of etcd (backup/etcd), and how a file comes to be there whole (backup/whole).
//
// README.md has the format of a file.
package backup
