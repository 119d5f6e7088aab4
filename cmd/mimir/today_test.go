package main

import (
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
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
