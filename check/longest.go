package main

// longest are the packages that -quick leaves out: beside others' work on two cores each of them takes minutes with the
// race detector. README.md names them.
var longest = []string{"e2e", "kv", "replication", "replication/internal/raftgroup", "sim"}
