// Package mirror brings what is written to a fleet into an etcd, for who feeds with it what is no fleet.
//
// It promises:
//
//   - M1: what was changed at one revision of the fleet, of the keys with a prefix, is changed at once in the etcd,
//     together with the place up to which it has come, and in the fleet's order; several revisions may be one of the
//     etcd's. Only what the etcd does not take in one transaction comes in several, and its place with the last.
//   - M2: killed at any point and started again, it goes on behind its place; nothing is missing, and nothing that is
//     older takes the place of something newer. No answer of the fleet is believed that is from before what the etcd
//     has, of whichever endpoint, and whenever it comes. What is done beside the history, to compare and to bring
//     back what ended with leases, is marked in the place before it is begun: broken off, it is done over by whoever
//     comes next.
//   - M3: one mirror writes: whoever has put its name into the place last. That is who was started last, but for some
//     that are started at once. The others end with ErrOvertaken before they change anything more, or at the latest
//     lookPolls polls later if there is nothing to change, also while it is waited for what an endpoint has at the
//     last revision that was mirrored, or at the next try if the fleet does not answer. Leases alone are granted, and
//     kept alive, without the place being in the same transaction; it is read before one is revoked.
//   - M4: where the history does not lead on from the place, since it is compacted or a failover has lost a part of
//     it, both are compared, and what differs is brought in. Nothing that no mirror has put there when it begins for
//     the first time is taken for its own, unless that is asked for; what somebody else puts there later goes with
//     the next comparison. Places are never touched, and the keys of another place neither: of two mirrors with keys
//     among the same ones, begun at once, one ends before it changes anything. To compare takes the history that
//     there is when it begins: if it is compacted before the end that is said, and it begins anew.
//   - M5: what is under a lease of the fleet is under one of the same time there, that is of its place alone: it has
//     the same ID where the etcd has nothing but what is mirrored, and one of its own where only keys with a prefix
//     are written, so that what becomes of one place's leases changes nothing for another place, for the fleet, if
//     that is the same cluster, or for whoever has such a lease there. It is kept alive for as long as the fleet has
//     it, by its last answer, and the mirror runs, also while the fleet does not answer; and it ends there when it has
//     ended in the fleet. If the mirror does not run for longer than that time it ends there with its keys, and comes
//     back with them once the mirror goes on. One that ends there while the mirror runs comes back likewise, and
//     nothing else is compared or asked anew for that. One that ends and is granted anew in the fleet under the same
//     ID, with another time, before the mirror has ended it in the etcd, keeps there the time that it had.
//   - M6: where an endpoint has something else at the last revision that was mirrored than was there it is told, and
//     nothing is taken of it: the fleet was begun anew, or restored, under its name, or a node has formed its region
//     anew by itself. Behind that revision nothing can be compared, nor what is compacted, nor before something was
//     changed since the mirror began.
//
// What is held in memory of keys and values is bounded, whatever the fleet has, by about 64 MiB, but for what one of
// its transactions changed, or a single key: 16 MiB that were watched, up to 16 MiB of each side where both are
// compared, and what is on its way. Not bounded are the leases: what is known of each that keys are under, and the keys
// of those that are asked about, up to 16 at a time.
//
// It leaves to its neighbours: how both are reached (sides), and revisions and versions, which are the etcd's own.
// Users and roles are not mirrored.
package mirror
