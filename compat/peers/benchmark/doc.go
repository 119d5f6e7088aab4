// Package benchmark runs the benchmarks that etcd's own client brings, etcdctl check datascale and check perf, against
// both regions of a fleet of real processes.
//
// It promises that a benchmark that etcdctl calls passed is passed here, and nothing else is.
package benchmark
