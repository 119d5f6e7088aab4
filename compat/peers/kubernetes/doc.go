// Package kubernetes runs a real kube-apiserver on a fleet of two regions of real Mimir processes, with clients that
// write, list and watch through it, while the primary moves: by switchovers, by forced failovers that lose nothing, and
// by one that loses what had not crossed; and one that begins on an etcd, whose data are taken into a fleet.
//
// It promises that the API server has settings alone, among them the addresses of all nodes; that it is one process
// from the beginning of a story to its end, or from its start on the fleet; and that what its clients see is judged as
// it comes: no read is older than what was acknowledged before it began, nor shows what a failover lost, nothing that
// was acknowledged is missing but from a lossy failover, which left it in a rescue file, and in the end all caches,
// those of clients and the API server's own, are what the store holds. The judge of one object is in line_test.go, and
// is tested without any server.
//
// It is also where helm installs the chart of deploy/packages, upgrades it and takes it away: helm_test.go.
//
// The API server and helm are named by flags, or built from the module proxy. Nothing of their code is here.
package kubernetes
