package etcdapi

import pb "go.etcd.io/etcd/api/v3/etcdserverpb"

// Leases returns the Lease service as it is registered.
func Leases(a *API) pb.LeaseServer { return &leaseServer{API: a} }
