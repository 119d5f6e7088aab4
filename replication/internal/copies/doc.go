// Package copies turns the whole content of a storage into a directory, and back.
//
// A copy is a whole state of a region: a directory with the file METADATA beside the folder contents, in which a
// Checkpointer has its files and any other storage the one file stream, whose sum is in STREAM-SUM. A part is a copy
// that is not complete yet. The formats are in README.md.
//
// It promises:
//
//   - C1. A copy holds the content as of the metadata with which it was begun, whatever is applied while it is written.
//   - C2. METADATA comes last: a directory that has it is complete and durable.
//   - C3. No view of the storage is open while its content is being replaced: [Maker.Restore] has what is being written
//     end first. As its node ends, so does what is being written: [Maker.End].
//   - C4. A [Keeper] has one complete copy of a volatile storage on disk at any time, once it had one, and only ever a
//     newer one in its place.
//   - C5 (invariant 13). What a storage wrote as one stream is put back as it was written, or not at all. A
//     Checkpointer's files are its own to check, and [VerifyFile] and [Verify] have it do so where it is a Verifier:
//     before a copy is given away, and before one from elsewhere is counted on (transfer, raftgroup).
//
// It leaves to its neighbours: when no command is being applied (region), how copies travel (transfer, checkpoint), and
// what a storage writes (contract).
package copies
