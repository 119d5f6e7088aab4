// Command all measures a region of Mimir beside etcd and beside a server that answers the same messages with nothing
// behind them, all on this machine and in one run; and whether Mimir is what it is wanted to be (package bench/goals).
//
//	go run ./bench/all -etcd ETCD -json docs/benchmarks.json -doc docs/benchmarks.md
//
// It promises that every figure stands beside the noise of the machine while it was measured: rounds of all cases on
// all sides follow each other, in turn, and before each measurement the same piece of arithmetic is timed; that what
// the servers' processes cost is counted by the system and not by them; that the operations end within -limit, and the
// goals within -goals-limit behind them; that of a goal which is missed there is a profile of the nodes under that
// load; and that the tables in the document are made of the JSON (TestTheDocumentIsMadeOfTheResult).
package main
