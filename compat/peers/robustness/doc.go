// Package robustness runs etcd's robustness traffic (go.etcd.io/etcd/tests/v3/robustness) against fleets of real Mimir
// processes to which something happens meanwhile: nodes and regions are killed, leaders stand still, the regions lose
// each other, and the primary moves. What clients and watchers saw is then validated by etcd's own model:
// linearizability, and what etcd guarantees of watches.
//
// It promises that what the model takes for the truth is the history itself: a region of its own that is never
// disturbed, in the test's process, follows the fleet and writes down every command.
package robustness
