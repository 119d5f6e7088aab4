// Package wal keeps the log of one node: the entries and the hard state of its Raft group, in segments of checksummed
// records. The same records are what the node streams to other regions, so nothing is written twice.
//
// It promises:
//
//   - Invariant 1, its share: what [Log.Append] synced is there after a power cut, and nothing that was not appended
//     ever is. So is what [Open] returned, also if a former process ended with a sync that failed.
//   - Invariant 3, its share: a reader at any index or [timeline.Position] gets what was appended, or an error that
//     says why not. It is never given a gap.
//   - Invariant 13, its share: a record is never returned without its checksum having matched. A torn tail is cut at
//     [Open]; any other damage is an error that names the segment and the offset. A segment that is missing, also the
//     newest, or is of another log is such damage.
//
// That a disk is full is nothing that is wrong with the log: [WaitForRoom].
//
// What [Log.NoteCommitted] was told outlasts the process, and mostly not a power cut.
//
// It leaves to its neighbours: which entries are committed and when log may be released (raftgroup), which of the
// entries the history took and who may read them (region, stream), and what payloads mean (timeline; wal reads
// only their headers, to find positions). One process at a time opens a directory: who guards the data directory guards
// the log.
//
// README.md has the formats byte by byte, what a crash may leave, and measurements.
package wal
