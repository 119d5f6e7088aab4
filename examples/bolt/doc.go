// Package bolt is a whole storage engine on disk for package replication, to be read as an example: a table of counters
// in one file of bbolt (https://pkg.go.dev/go.etcd.io/bbolt), which survives restarts and power cuts. Its test holds it
// to the contract, and runs it in two regions.
//
// It promises what [replication.Storage] asks for: every batch is one transaction of bbolt, data and metadata together
// (invariant 5); a snapshot is a read transaction, so that writes go on beside it; a restore is a file that takes the
// place of the old one by its name.
//
// It leaves to the library everything about regions, nodes and logs.
package bolt
