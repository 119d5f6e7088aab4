// Command ocean measures how two regions follow each other over a long line, on one machine: Linux, root and
// /dev/net/tun, without which it says what is missing and exits with 3.
//
//	go run ./bench/ocean -json docs/ocean.json -doc docs/ocean.md
//
// It promises that each figure stands beside its peer, taken on the same line in the same round: the stream beside the
// best that plain TCP carries, lag beside that of plain TCP at the same rate, puts while a region catches up beside
// puts while none does, and etcd's make-mirror beside the stream on the same keys; that traffic stays in
// namespaces of its
// own, of which a crash leaves nothing (package link); and that the table in the document is made of the JSON
// (TestTheDocumentIsMadeOfTheResult).
package main
