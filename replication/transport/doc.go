// Package transport carries messages between nodes and between regions.
//
// It promises that messages of one stream arrive in order and unchanged or not at all, that a dead peer is noticed, and
// that nothing is sent to a process of another fleet. It knows nothing of what the messages mean: raftgroup, stream,
// checkpoint, propose, peer and transfer define those.
//
// Package transport/grpc is the Transport of real processes; package transport/memory is one inside a process, with
// faults, for tests and simulation. Both keep the same rules:
//
//   - The opener learns how a stream ended from Recv. An error of Send says only that it is over.
//   - A handler's context ends as soon as the opener's side is known to be gone.
//   - A connection that broke, and a peer that fell silent, end their streams with ErrUnreachable.
//   - Close waits for the handlers of this process to return; a handler must not call it.
package transport
