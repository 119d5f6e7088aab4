// Package witness is a voter without data: a process that votes about who is primary, so that a fleet of two regions
// can lose either one and go on. All that it keeps is its ballot, one small file.
//
// It promises:
//
//   - W1: what it answers is on its disk before: a vote, a ceiling, a charter. The file is replaced as a whole, and
//     checked when it is read.
//   - W2: a witness that lost its file does not start, and one that lost its whole directory is another witness to the
//     charter: it is supported by nobody until it is added anew (B1).
//   - W3: one process at a time uses a directory.
//   - W4: a witness whose directory is an older copy votes no more, as soon as somebody asks it who heard of what the
//     copy has not, and after any start once that could be noted: every start that was told and every write of the
//     file is counted, and said to the voters, sealed by a key of the directory. It judges nothing that was not said on
//     it. Where nobody who asks remembers, it is not noticed.
//
// A process may run several, one for each fleet, each over its own Transport and in its own directory.
//
// It leaves to its neighbours what a voter decides (ballot, timeline) and answers (votes).
package witness
