// Package command holds the commands of the store and their results: what a request must look like to become one, how
// both are encoded, and the errors that are part of a result.
//
// It promises:
//
//   - C1: the encodings are in logs and travel between versions for ever. Tags and codes are only ever added; a request
//     encodes to the same bytes everywhere (README.md of kv has the tables).
//   - C2: the decoder of puts, which copies nothing, reads what the Protocol Buffers library reads.
//   - C3: whoever decodes a result gets the response or the very error, by errors.Is, that the store refused the
//     command with. An error that no result can carry is a failure of the engine.
//
// It leaves to its neighbours: doing a command (kv), and the errors as clients know them (etcdapi). Nothing here
// reads or keeps anything; all of it is safe for concurrent use, but for [Results].
package command
