// Command all measures a region of Mimir beside etcd and beside a server that answers the same messages with nothing
// behind them, all on this machine and in one run.
//
//	go run ./bench/all -etcd ETCD -json docs/benchmarks.json -doc docs/benchmarks.md
//
// It promises that every figure stands beside the noise of the machine while it was measured: rounds of all cases on
// all sides follow each other, in turn, and before each measurement the same piece of arithmetic is timed; that what
// the servers' processes cost is counted by the system and not by them; that the run ends within -limit; and that the
// table in the document is made of the JSON (TestTheDocumentIsMadeOfTheResult).
package main
