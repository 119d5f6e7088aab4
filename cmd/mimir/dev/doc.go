// Package dev runs a whole fleet on this machine, for trying things out: each node a real `mimir serve` process.
//
// It promises that the fleet keeps its addresses and data from one run to the next, that nothing it started outlives it
// (on Linux not even if it is killed), and that a node which ends is reported and left alone, so that faults can be
// tried by hand. Faults can be ordered too (Tell): nodes and regions are killed and started again, links between
// regions cut and healed, by whoever may read control.json, which is the user that runs the fleet. Its directory holds:
//
//	fleet.json          addresses, process ids and data directories, for programs
//	control.json        while it runs: where orders are taken, and the token that they show; for its user alone
//	NODE/config.yaml    what `mimir serve --config` needs to start that node again
//	NODE/log            what the node logged
//	NODE/data           everything the node keeps
//
// What one region sends to a node of another passes a link in this process, one for each pair of region and node, which
// may delay it. Package localfleet runs the processes and the links; here is what a fleet is from one run to the next.
package dev
