// Package apiserver runs the storage tests that the Kubernetes API server publishes (k8s.io/apiserver,
// pkg/storage/testing) on its etcd3 storage over Mimir, at both regions of a fleet of real processes, and over a real
// etcd in the same way.
//
// It promises that every exported case is run that is meant for that storage, each under keys of its own, and that the
// fleet has settings alone: watch-progress-interval is 1s, as it is in the run over etcd. What is in test files of the
// API server is not here.
package apiserver
