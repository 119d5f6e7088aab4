package main

// longest are the packages that -quick leaves out: beside others' work on two cores each of them takes minutes with the
// race detector. A run of everything begins with them, in this order, so that none is left running alone at the end.
// README.md names them.
var longest = []string{"sim", "replication", "e2e", "replication/internal/wal", "kv", "replication/internal/raftgroup"}
