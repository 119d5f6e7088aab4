// Package ballot decides who may be primary, by votes: what a voter promises and for whom it votes, what the promises
// of a majority entitle a primary to, and when a region asks for votes. It is three pure state machines, [Voter],
// [Holder] and [Candidate]: what is applied, what was asked and answered, and a reading of the lease clock go in;
// effects come out. It does no I/O, starts no goroutine, reads no clock and logs nothing.
//
// A voter is a region, whose vote is an entry of its own log, cast by whoever leads it, or a witness, whose vote is a
// file. A promise is not to vote for anybody else for as long as a lease: the voter counts from when it was asked, the
// holder from before it asked, and less by what their clocks may differ. With each promise goes a ceiling, up to which
// the primary may acknowledge; a majority remembers it, and so it is known what a failover can lose at most.
//
// It promises, with timeline's rules of votes under it:
//
//   - B1 (invariant 6): at most one region begins an epoch: a majority has voted for it, and nobody votes twice in
//     one.
//   - B2 (invariant 7): while the holder of an epoch has a lease, no other region was voted into a later epoch. So who
//     acknowledges a write, or confirms a read, under a lease is the only one who does.
//   - B3: what was acknowledged lies under a ceiling that a majority of voters remembers, and no failover loses more
//     of it than the budget, unless an operator accepts that. Where nothing may be lost it is with every majority of
//     the voters, by a charter of this epoch that a majority keeps, or under what the charter says was acknowledged by
//     others.
//   - B4: a promise of a region is given only by a leader that its quorum confirmed after it was asked, and a leader
//     votes for nobody new before promises that a former one may have given are over.
//   - B5 (invariant 15): nobody asks for votes while a majority promises to support another, so that who hears little
//     disturbs nobody; and a primary that is heard, but hears nothing, is not supported for ever: in a hold not
//     beyond its end.
//   - B6: nobody asks for votes beyond a reign that is not known to be decided by the voters of the charter, or goes on
//     from its own beyond one that took writes without saying so; nor does who is sealed for that one.
//   - B7: nobody takes over by itself if the primary moved by itself as often as the charter allows, as far as it and a
//     majority of the voters remember. That is a matter of wall clocks, and nothing else rests on it. A primary that
//     goes on is no move, and not counted, even if it goes on from another one that took writes.
//   - B8: in a hold, others promise for as long as it lasts, and there is no ceiling for who keeps its charter. That
//     counts while the region's own voter supports it as ever, so for no former leader longer than a lease. It ends by
//     a later charter, which is written once it counts for its leader no more, and says up to where was acknowledged;
//     who keeps that promises for a lease yet.
//   - B9: a hold costs what was said. Where it is counted, a voter promises by it no longer than it was to last since
//     the voter knows it, and who begins to speak for the voter waits for what is left of that, and no less than
//     anybody promised: by notes of how much is over, a bounded number of them, and no wall clock. The time for which
//     no process of a voter is up does not count, nor what came between its last note and that.
//   - B10 (invariant 15): a primary can be supported by a majority of its charter until another one is voted for. So
//     nobody's vote counts for who has an older charter than the voter, and a seal's neither: it is a vote whatever the
//     target knows, but is told only to one that has the charter.
//
// It leaves to its neighbours: the rules of votes themselves, which are decided where they are logged (timeline); the
// messages, the clock and the disks (votes); beginning the epoch (succession).
package ballot
