// Package follow is what a node, and who has it follow an etcd, say to each other: the gRPC stream Follow of the
// service mimir.v1.Import.
//
// It promises that both sides mean the same by the bytes, and nothing else: what is applied, and when it is refused, kv
// decides; who may call, etcdapi; what comes from the etcd, backup/live.
//
// Both directions carry google.protobuf.BytesValue. The node begins with a State, as JSON. Then the caller sends
// batches of commands (command.EncodeFollowed), and the node answers each, in order, with its State, without leases. A
// batch is one or more messages: a byte, 1 in the last one and 0 in those before, and behind it bytes; put together
// these are commands, each behind its length as uvarint. A batch is applied as one entry of the log; one without
// commands only asks. What is refused ends the stream: with FailedPrecondition if the content follows no etcd, with
// Aborted if something else comes next there; with anything else it is not known whether the batch was applied, and
// whoever calls again is told.
package follow
