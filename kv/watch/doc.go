// Package watch is watchers: events of the keys that somebody wants to see, in order of revision, from memory for
// whoever keeps up and from disk for whoever does not.
//
// It promises:
//
//   - Invariant 11: a [Watcher] yields every matching event once and in order, or ends with an error that says why.
//   - A [Hub] never waits for a watcher, and keeps no more than a bounded number of events for one.
//   - W1: a watcher that has ended holds no events.
//   - W2: what waits in memory was not yielded, is in order, and reaches as far as the position says.
//   - W3: a watcher that is not synced goes on from the revision after all that was yielded and waits.
//   - W4: the index of a hub holds each of its watchers, once, and the hub asks for as much as the most demanding
//     wants.
//   - W5: the watchers that read from disk are counted.
//
// It leaves to its neighbours: what a batch changes, and telling of it in order (kv); reading a stretch of history
// (mvcc, by [Disk]); streams of clients (etcdapi).
package watch
