// Package partial has a region follow only the keys with some prefixes: for data that must not leave where it is, and
// for the edge. A partial region is nodes of their own, each of which follows a node of a full region ([Source]) and
// holds a part of its history ([Sink]). It is no region of the fleet's succession: it has no log, no vote, no slot and
// no cursor, so that it can be no primary, nobody's source, and counts for no durability.
//
// It promises:
//
//   - P1: what is sent is of the keys with the prefixes alone, and which they are the node says that sends, by its own
//     file ([Regions]). Of the others nothing leaves it but revisions: that something was written, and how much is
//     compacted.
//   - P2: what a node holds at a revision is what the source has of these keys there: the same versions, revisions,
//     create revisions and leases. Each change is compared with what it replaces, and all of it by sums, over and over;
//     what does not fit is not taken, and a copy is fetched anew.
//   - P3: it goes on behind the revision that it holds, at any node of the fleet, over cuts, kills and moves of the
//     primary. Where that revision is of a history that a failover cut off, or what comes behind it is compacted, it
//     takes a copy anew; a copy that breaks off begins anew.
//   - P4: what it shows is of one revision, and never goes back: a start that was not preceded by a stop in good order
//     shows nothing before it has come to where the fleet was when it began, and what was cut off is not shown again.
//     That its directory is an older copy, which somebody put back, it does not know.
//   - P5: a lag that is told is an upper bound.
//   - P6: how new the fleet's users and roles are, and whether there are any, as far as was heard here, is known before
//     what may need it is shown, and never goes back, but behind a copy that came in the place of what was held: then
//     it is what a source had that was fresh, since the fleet may have been restored.
//   - What a directory follows never changes: other prefixes need another directory.
//
// It leaves to its neighbours: which versions a store has (kv), who may read and write (the fleet, which is asked),
// what clients are served (partial/front), and the process (server).
package partial
