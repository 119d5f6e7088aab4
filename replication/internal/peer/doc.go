// Package peer carries single questions between nodes: one request, one answer, both JSON, so that neighbouring
// versions understand each other (invariant 16).
//
// It promises that an answer is the one to the question that was asked, and that an error keeps what callers must tell
// apart: of all kinds that an error wraps, the one that comes first in the table of kinds travels, always the same one.
// Kinds that say "nothing is known of what was done" come before those that say "nothing was done", so that the first
// is never taken for the second.
//
// A question that has something done is put with [Order]: once it was sent, a lost answer is an unknown outcome, and
// never passes for a node that was not reached.
//
// Who is admitted to the port is not thereby entitled to anything: each question says what [Right] it takes where it is
// registered, each service where it is wired, and one [Door] decides who has it, again at every message of a stream
// that lasts. Who is refused is told why, and so is the log. A caller of whom the transport says nothing is let in:
// transports that do not tell are for networks in which nobody lies.
//
// It leaves to its neighbours what questions there are: each room registers its own with [Handle], and asks with
// [Client]; and to the wiring which regions are of the fleet, and who was removed.
package peer
