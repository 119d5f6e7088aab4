// Package mirror brings what is written to a fleet into an etcd, for who feeds with it what is no fleet.
//
// It promises:
//
//   - M1: what was changed at one revision of the fleet, of the keys with a prefix, is changed at once in the etcd,
//     together with the place up to which it has come, and in the fleet's order; several revisions may be one of the
//     etcd's. Only what the etcd does not take in one transaction comes in several, and its place with the last.
//   - M2: killed at any point and started again, it goes on behind its place; nothing is missing, and nothing that is
//     older takes the place of something newer.
//   - M3: one mirror writes. Whoever was started last does, and the others end with ErrOvertaken before they change
//     anything more.
//   - M4: where the history does not lead on from the place, since it is compacted or a failover has lost a part of it,
//     both are compared, and what differs is brought in. Nothing that no mirror has put is taken for its own, unless
//     that is asked for.
//   - M5: what is under a lease of the fleet is under one of the same ID and time there. It is kept alive for as long
//     as the fleet has it and the mirror runs, and ends there when it has ended in the fleet. If the mirror stands
//     still for longer than that time it ends there with its keys, and comes back with them once the mirror goes on.
//
// What is held in memory is bounded, whatever the fleet has, but for what one of its transactions changed.
//
// It leaves to its neighbours: how both are reached (sides), and revisions and versions, which are the etcd's own.
// Users and roles are not mirrored.
package mirror
