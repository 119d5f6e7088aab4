// Package demo plays a story with a real fleet on this machine, for who wants to see what Mimir does before he reads
// what it promises: two regions under a load and a watcher, a switchover, the loss of the primary's region, a forced
// failover, and the return of the lost one.
//
// It promises that every figure it tells was measured in this run, by clients of the fleet or by what nodes answered;
// that the commands it shows are those of `mimir` and were run as they are shown; that it fails if a write which was
// acknowledged is neither in the history nor in the rescue file of the lost region, if the watcher saw an event twice
// or not at all, or if the regions differ at the end; and that it ends by itself and leaves neither process nor file
// behind, however it ends but by SIGKILL.
//
// Package localfleet runs the processes and the links between the regions. What a client of the fleet saw is judged in
// judge.go, which is pure.
package demo
