// Package etcdapitest is a node for tests: a kv store and its etcd API, with commands applied in the order in which
// they arrive and nothing replicated. It promises what a region of one node promises while it runs, can be told to fail
// as replication fails, and keeps nothing on disk.
package etcdapitest
