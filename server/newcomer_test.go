package server

import (
	"context"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A node is added as etcdctl does it, by its address alone: it is listed as one that did not start, takes its place
// with its own name when it does, and goes by the ID that was told too. So are a voter and a learner.
func TestANodeIsAddedByItsAddress(t *testing.T) {
	first, second, third := testConfig(t, "us-1"), testConfig(t, "us-2"), testConfig(t, "us-3")
	for _, c := range []*Config{first, second, third} {
		c.Replication.RegionID, c.Replication.InitialPrimary = "us", "us"
		c.Replication.Nodes = map[string]string{"us-1": first.ListenPeer}
		c.Replication.Join = c != first
	}
	runNode(t, first)
	client := etcdClient(t, first, TLS{})
	eventually(t, "the region writes", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := client.Put(ctx, "k", "v")
		return err == nil
	})
	listed := func(ctx context.Context, what func(m *pb.Member) bool) (n int) {
		list, err := client.MemberList(ctx)
		if err != nil {
			return -1
		}
		for _, m := range list.Members {
			if what(m) {
				n++
			}
		}
		return n
	}
	voter, err := client.MemberAdd(t.Context(), []string{"http://" + second.ListenPeer})
	if err != nil || voter.Member.Name != "" || voter.Member.IsLearner || len(voter.Members) != 2 ||
		len(voter.Member.ClientURLs) != 0 || voter.Member.PeerURLs[0] != "http://"+second.ListenPeer {
		t.Fatalf("%v, %v", voter, err)
	}
	learner, err := client.MemberAddAsLearner(t.Context(), []string{"http://" + third.ListenPeer})
	if err != nil || learner.Member.Name != "" || !learner.Member.IsLearner || learner.Member.ID == voter.Member.ID {
		t.Fatalf("%v, %v", learner, err)
	}
	if n := listed(t.Context(), func(m *pb.Member) bool { return m.Name == "" }); n != 2 {
		t.Errorf("%d did not start", n)
	}
	if _, err := client.Put(t.Context(), "k", "they do not vote yet"); err != nil {
		t.Fatal(err)
	}
	runNode(t, second)
	runNode(t, third)
	eventually(t, "both take their places", func(ctx context.Context) bool {
		return listed(ctx, func(m *pb.Member) bool {
			return m.Name == "us-2" && !m.IsLearner && len(m.ClientURLs) > 0 ||
				m.Name == "us-3" && m.IsLearner && len(m.ClientURLs) > 0
		}) == 2 && listed(ctx, func(*pb.Member) bool { return true }) == 3
	})
	eventually(t, "the learner is promoted, by the ID that was told", func(ctx context.Context) bool {
		_, err := client.MemberPromote(ctx, learner.Member.ID)
		return err == nil
	})
	atThird := etcdClient(t, third, TLS{})
	eventually(t, "a node that came reads", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		r, err := atThird.Get(ctx, "k")
		return err == nil && len(r.Kvs) == 1 && string(r.Kvs[0].Value) == "they do not vote yet"
	})
	if _, err := client.MemberUpdate(t.Context(), voter.Member.ID, voter.Member.PeerURLs); err != nil {
		t.Errorf("the other one, by the ID that was told: %v", err)
	}
}
