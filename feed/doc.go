// Package feed gives a program what is changed in a fleet, in order and from any place on: for caches, indexes, queues
// and audit trails. [Follow] is its client, and [AppendLines] writes what it gives as lines of JSON; mimir feed does
// both.
//
// It promises:
//
//   - F1: what was changed at one revision of the keys that are followed is one [Item], whole and in the order of the
//     history. Within one Follow none comes twice, and none is left out.
//   - F2: whoever goes on behind the last [Token] that it has kept misses nothing, however it ended. What it was given
//     behind that token comes once more: it is the same change if revision and key are the same. Kept in one step with
//     what was made of it, each change counts once.
//   - F3: a token says that everything up to its place was given out. One comes with each revision, and with
//     [Resolved], now and then, also where nothing is changed: so a token that is kept stays ahead of compaction.
//   - F4: it goes on at another endpoint when one ends, says nothing for long, or is behind the place to which it has
//     come, and so over switchovers and failovers. An endpoint that is behind is not believed.
//   - F5: where a failover has cut off a part of the history that is [Void] as soon as the feed comes to it, with the
//     revisions that are of no history any more. If changes at those were given out, by what the token says, it ends
//     there with a [VoidError], and goes on only with the token of that item, or with a copy. Of what was given behind
//     the token that it went on with nothing is known: it may be void, and the item says of which revisions.
//   - F6: what is compacted is a [CompactedError], and never left out. The way out is a copy.
//   - F7: a copy is all keys at one revision, and what is changed behind it follows. It counts once it has ended with
//     [Copied]; one that begins, or begins anew, takes the place of what was known before.
//   - F8: where the fleet has another history than the one that was given out it ends with a [ForkedError]: so it is
//     for whoever followed the one that gave way of two regions that were forced in one epoch, and with a fleet that
//     was restored, or begun anew, under its name. It is found out when it goes on by another connection, and by two
//     things: a node has less than it had, or there is something else at the last revision at which something was given
//     out. Nothing is said of what a token of an earlier version, or compaction, has not kept, nor while every endpoint
//     is of a node that never had what was given out, and is behind; behind that last revision nothing can be compared.
//   - F9: held in memory are 16 MiB that were watched, and one revision, or page of a copy, and message besides.
//
// Whether a key was deleted or ended with its lease is not told: both are deletions to a watch.
//
// What others do, and what was taken of it: CockroachDB's changefeeds give each row at least once, and resolved
// timestamps by which a consumer knows that all before has come (here [Resolved], of revisions; unlike there what was
// written together stays together, in one order). Debezium counts the changes of a transaction and marks the rows of a
// snapshot (the change and changes of a line, and [Keys]). etcd's watch answers on the stream itself how far it is, and
// ends with "compacted", where clients have to find out by themselves what is lost (here [Void] or [CompactedError]).
// Consul has a reader begin anew when its index goes backwards; nothing here goes backwards, and a failover has
// revisions of its own.
//
// It knows nothing of a fleet but the API of etcd v3, and of this module the room sides, by which it watches. Whoever
// embeds package replication with an engine of his own has no revisions, and follows the log by replication.HistoryOf:
// examples/bolt has an example.
package feed
