// Package bench loads etcd-compatible endpoints with puts, gets, ranges, transactions and watches, and reports
// throughput and latency. Given two sets of endpoints it alternates between them in rounds, so that whatever else the
// machine does hits both alike, and reports medians and ratios.
//
// It promises that an operation counts only when it was answered without an error, that latency is measured around each
// single operation, and that both sides are driven by the same code through the same client library. It knows nothing
// of Mimir.
package bench
