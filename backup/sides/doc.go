// Package sides has what the two places have in common between which contents go while both run, an etcd and a fleet:
// how a client reaches one, and reads what is changed there.
//
// It promises that a connection logs in again when what it shows counts no longer, at the same endpoint, without losing
// the calls that are under way; that a revision is given out once all of it is there, and that no more is held than one
// revision and one message, beside 16 MiB where a [Feed] reads ahead; and that each question has a deadline.
//
// It leaves to its neighbours what is done with it: live brings an etcd's writes into a fleet, mirror a fleet's into an
// etcd, and the room feed gives them to programs.
package sides
