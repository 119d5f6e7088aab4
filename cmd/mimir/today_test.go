package main

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/cmd/mimir/replay"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// TestALeaseOfAReplayLives as long as the replay does: another one with the same time to live runs out meanwhile.
func TestALeaseOfAReplayLives(t *testing.T) {
	n := &connection{endpoints: []string{etcdapitest.StartPlain(t).Endpoint}}
	fleet, err := n.today(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.client.Close()
	if err := fleet.Grant(t.Context(), 7, 2); err != nil {
		t.Fatal(err)
	}
	other, err := fleet.client.Grant(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	put, err := fleet.client.Put(t.Context(), "k", "v", clientv3.WithLease(other.ID))
	if err != nil {
		t.Fatal(err)
	}
	<-fleet.client.Watch(t.Context(), "k", clientv3.WithRev(put.Header.Revision+1))
	if _, err := fleet.Lease(t.Context(), 7); err != nil {
		t.Errorf("the lease that was granted before: %v", err)
	}
}

// A lease whose end has begun is said to be gone when it is: before that it cannot be granted, and what is put on it
// goes with it.
func TestALeaseThatEndsIsNotGoneBefore(t *testing.T) {
	node := etcdapitest.StartPlain(t)
	n := &connection{endpoints: []string{node.Endpoint}}
	fleet, err := n.today(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.client.Close()
	node.Lessor.Demote()
	for _, c := range [][]byte{
		command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 7, TTL: 3600}),
		command.EncodePut(&pb.PutRequest{Key: []byte("k"), Lease: 7}),
		command.EncodeLeaseExpiryPart(7, [][]byte{[]byte("k")}, command.Begins),
	} {
		if _, err := node.Replicator.Propose(t.Context(), []*replication.Command{{Data: c}}); err != nil {
			t.Fatal(err)
		}
	}
	_, release := node.Replicator.HoldWrites()
	ends := sync.OnceFunc(release)
	defer ends()
	var asked atomic.Int64
	node.Replicator.AtBarriers(func() { // one behind each answer
		if asked.Add(1) == 2 {
			ends()
		}
	})
	node.Lessor.Promote(replication.Tenure{Term: 3, Epoch: 1})
	_, err = fleet.Lease(t.Context(), 7)
	if _, _, ok := node.Store.Lease(7); ok || !errors.Is(err, replay.ErrNoLease) {
		t.Errorf("%v, and it is there: %t", err, ok)
	}
}

// A replay shows a password to nobody without TLS where TLS was asked for, as all that asks does.
func TestAReplayShowsNoPasswordInClear(t *testing.T) {
	n := &connection{
		endpoints: []string{"http://" + etcdapitest.StartPlain(t).Endpoint}, insecure: true,
		who: login{user: "root:geheim"},
	}
	fleet, err := n.today(t.Context())
	if err == nil {
		fleet.client.Close()
	}
	if !errors.Is(err, errUsage) {
		t.Errorf("got %v", err)
	}
}
