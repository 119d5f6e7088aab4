// Package succession decides what the leader of a region has to do next, so that there is one primary at a time:
// handing the primary over and taking it, taking it by force, giving way to a higher claim, following, and coming back
// with a forked or a forgotten history. It is one pure state machine: what is applied, what was heard of the fleet,
// what was asked and answered, and the time go in; effects come out. It does no I/O, starts no goroutine, reads no
// clock and logs nothing.
//
// It promises:
//
//   - P1 (invariant 6): a seal is lifted only on the target's word that it has committed a refusal of this very
//     handoff, or by a reign above everything that the handoff can have begun; or it goes with the right to write,
//     when the region gives way. A word counts only for the handoff that it names.
//   - P2: a target begins only at the exact end of the epoch that is handed over, and while no stream of its own is
//     under way.
//   - P3 (invariant 6): a forced epoch is above every claim that is known, and above what an open handoff that is
//     known may have begun.
//   - P4: nothing that a leader must not forget is kept here. Everything it decides goes through the region's log, and
//     what is kept beside it (for how long the target was asked, what runs just now) only hastens. So a leader that
//     comes up continues where the machine of the one before it was: an open seal without a memory of it counts as a
//     handoff whose time is over, and is ended by asking for the refusal.
//   - P5 (invariant 15): while a seal is open, its target is asked until it answers. A question that is lost is asked
//     again. Where votes are taken, the region asks for votes as well, once the target did not answer that it refuses,
//     and goes on in a later epoch if a majority votes for it: then nobody can acknowledge by the handoff any more.
//   - P6: one decision of a leader is in its log at a time, but for refusals, which only bind the region itself and
//     may be given at any time.
//   - P7: a region begins the first epoch of a fleet only while the leader of every other region says that it has no
//     history, and forms none just now, if it is told to: by its configuration, or by an order; or by force. Whatever
//     two regions are ordered at the same time, one of them forms a fleet.
//   - P8 (invariant 8): a copy is installed only over a history that it continues, or whose tail is saved; and a
//     region diverges only for the history of the highest claim that is known.
//   - P9: nothing is proposed that the rules refuse, as far as is applied here, and what was refused all the same
//     waits longer each time, up to a bound.
//   - P10: a vote is taken to the log once nothing is streamed any more, and a region that voted for a later epoch
//     follows no earlier reign: whoever it votes for holds everything that it acknowledged to a source.
//   - P11: where votes are taken, nobody without one is handed the primary, or takes it.
//   - P12: going back to the fork ends in its time. It is tried again where nodes could not be asked, a few times, and
//     once for each copy that is not to be had either. Until the source itself is heard it is not given up, for a
//     while.
//   - P13: a region that forgot a reign of its own does not go on with it, whatever brings that reign: nobody knows how
//     far it came.
//
// It leaves to its neighbours: the rules of the state itself, which hold whatever is proposed (timeline); carrying the
// effects out and telling what came of them (primary, secondary); who may write (standing).
//
// Where votes are taken, a beginning waits until a majority voted for it (Elect), and the region's own vote is cast
// here, in order with everything else that it decides. A lease that has run out is not seen here: it only bars the way
// of writes and reads (standing).
package succession
