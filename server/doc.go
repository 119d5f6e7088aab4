// Package server is one Mimir process: it reads the configuration, binds the listeners, builds the store, the
// replicator and the client API, and owns their lifetime.
//
// It promises that wrong configuration is refused before anything is opened, with one line that names the key and the
// refused value; that a process which reports ready serves clients; that a stop in good order hands leadership over
// first; that settings read anew while it runs change all that can be changed, and nothing if one is wrong; and that a
// node which can no longer keep an invariant ends the process with one line saying why.
//
// It keeps none of the numbered invariants itself. What a request means is left to etcdapi and kv, what is replicated
// and when to replication, the operator's protocol (JSON under /mimir/v1/) to package admin, and what needs the
// operator's right, and who has it, to package operator, and the page on which people see the fleet to package console.
//
// Listeners:
//
//	listen-client   gRPC and HTTP/1.1 on one port: the etcd API, its JSON gateway, /mimir/v1/, /health, /livez,
//	                /readyz, /version, /metrics, /console/, /debug/vars, and, if so configured,
//	                /debug/pprof/
//	listen-peer     nodes of this region and of the others: Raft, stream, forwarded requests
//	listen-http     optional: the same pages, without the API
package server
