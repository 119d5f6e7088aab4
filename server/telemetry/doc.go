// Package telemetry is what a node tells of itself in figures, for Prometheus.
//
// It promises:
//
//   - T1: a figure is what was measured. What a node does not know has no series, and no figure stands for another.
//   - T2: a metric under one of etcd's names has etcd's type, labels and meaning, for the node and its region, which
//     is what a cluster is to a client of etcd; what has none here is not there. docs/metrics.md says which are left
//     out.
//   - T3: every metric is declared once, as a [Figure], and the reference docs/metrics.md is made of those.
//   - T4: the values of a label come from a small set that strangers cannot enlarge: methods that the node offers,
//     nodes that the fleet has, words of this code.
//   - T5: what is counted at each request and each write costs a few additions and no memory.
//
// It leaves to its neighbours what there is to tell: the replicator's health, the store's figures, the API's traffic.
// It keeps none of the numbered invariants.
package telemetry
