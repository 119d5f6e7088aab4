// Package transport carries messages between nodes and between regions.
//
// It promises that messages of one stream arrive in order and unchanged or not at all, that a dead peer is noticed, and that
// nothing is sent to a process of another fleet. It knows nothing of what the messages mean: raftgroup, stream,
// checkpoint and replication define those.
package transport
