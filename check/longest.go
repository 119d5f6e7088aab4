package main

// longest are the packages that -quick leaves out: beside others' work on two cores each of them takes about ten minutes with
// the race detector, and the others one or less. README.md names them.
var longest = []string{"e2e", "kv", "replication", "sim"}
