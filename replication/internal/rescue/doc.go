// Package rescue keeps the tail that a deposed region cut from its history, as one file a divergence on every node.
//
// It promises the saving half of invariant 8: a file that [Write] returned for is complete, checksummed, durable and
// readable by itself, and a file that is damaged or cut short never reads as a shorter tail. It leaves to tail
// which entries make the tail, and to kv what their commands mean. README.md has the byte table.
package rescue
