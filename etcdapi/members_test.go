package etcdapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/replication"
)

// What the leader refuses because its picture of the members is newer reaches clients in etcd's words for that
// situation, and not as a want of started members.
func TestWhatTheLeaderRefusesOfMembers(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	if _, err := c.MemberAdd(ctx, []string{"http://test-2@127.0.0.1:9998"}); err != nil {
		t.Fatal(err)
	}
	learner, err := c.MemberAddAsLearner(ctx, []string{"http://test-3@127.0.0.1:9999"})
	if err != nil {
		t.Fatal(err)
	}
	n.Replicator.RefuseChanges(fmt.Errorf("%w: by the leader", replication.ErrMember))
	_, added := c.MemberAdd(ctx, []string{"http://test-4@127.0.0.1:9997"})
	_, promoted := c.MemberPromote(ctx, learner.Member.ID)
	_, removed := c.MemberRemove(ctx, 2)
	_, moved := c.MoveLeader(ctx, 2)
	n.Replicator.RefuseChanges(nil)
	if _, err := c.MemberRemove(ctx, 2); err != nil {
		t.Fatal(err)
	}
	n.Replicator.RefuseChanges(fmt.Errorf("%w: by the leader", replication.ErrMember))
	_, last := c.MemberRemove(ctx, 1)
	for _, got := range []struct {
		what string
		err  error
		want string
	}{
		{"add", added, rpctypes.ErrorDesc(rpctypes.ErrGRPCMemberExist)},
		{"promote", promoted, rpctypes.ErrorDesc(rpctypes.ErrGRPCMemberNotLearner)},
		{"remove", removed, "mimir: replication: impossible membership change: by the leader"},
		{"move the leader", moved, "etcdserver: request timed out, leader transfer took too long"},
		{"remove the last voter", last, rpctypes.ErrorDesc(rpctypes.ErrGRPCMemberNotEnoughStarted)},
	} {
		if got.err == nil || !strings.HasSuffix(got.err.Error(), got.want) {
			t.Errorf("%s: %v, want %s", got.what, got.err, got.want)
		}
	}
}

func TestMembers(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	listed, err := c.MemberList(ctx)
	if err != nil || len(listed.Members) != 1 || listed.Members[0].Name != "test-1" ||
		listed.Members[0].PeerURLs[0] != "http://127.0.0.1:2380" ||
		listed.Members[0].ClientURLs[0] != "http://127.0.0.1:2379" {
		t.Fatalf("member list: %v, %v", listed, err)
	}
	added, err := c.MemberAddAsLearner(ctx, []string{"http://test-2@127.0.0.1:9999"})
	if err != nil || added.Member.Name != "test-2" || !added.Member.IsLearner || len(added.Members) != 2 {
		t.Fatalf("member add: %v, %v", added, err)
	}
	if _, err := c.MemberAdd(ctx, []string{"http://test-2@127.0.0.1:1"}); !errors.Is(err, rpctypes.ErrMemberExist) {
		t.Errorf("a name twice: %v", err)
	}
	if _, err := c.MemberAdd(ctx, []string{"http://test-3@127.0.0.1:9999"}); !errors.Is(err, rpctypes.ErrPeerURLExist) {
		t.Errorf("an address twice: %v", err)
	}
	n.Replicator.RefuseChanges(fmt.Errorf("%w: the leader", replication.ErrOldNode))
	_, err = c.MemberAdd(ctx, []string{"http://127.0.0.1:1"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "http://NAME@HOST:PORT") {
		t.Errorf("a node without name, where the leader is of a version before: %v", err)
	}
	n.Replicator.RefuseChanges(fmt.Errorf("%w: it is there", replication.ErrMember))
	if _, err := c.MemberAdd(ctx, []string{"http://127.0.0.1:1"}); !errors.Is(err, rpctypes.ErrPeerURLExist) {
		t.Errorf("a node without name that the leader knows: %v", err)
	}
	n.Replicator.RefuseChanges(nil)
	for i, add := range []func(context.Context, []string) (*clientv3.MemberAddResponse, error){
		c.MemberAdd, c.MemberAddAsLearner,
	} {
		added, err := add(ctx, []string{fmt.Sprintf("http://127.0.0.1:%d", i+1)})
		if err != nil || added.Member.Name != "" || added.Member.IsLearner != (i == 1) || len(added.Members) != 3 {
			t.Fatalf("member add of an address: %v, %v", added, err)
		}
		if _, err := c.MemberPromote(ctx, added.Member.ID); i == 0 && !errors.Is(err, rpctypes.ErrMemberNotLearner) {
			t.Errorf("promotion of who is to vote: %v", err)
		}
		if _, err := c.MemberRemove(ctx, added.Member.ID); err != nil {
			t.Errorf("removal of who did not come: %v", err)
		}
	}
	if promoted, err := c.MemberPromote(ctx, added.Member.ID); err != nil || promoted.Members[1].IsLearner {
		t.Fatalf("member promote: %v, %v", promoted, err)
	}
	if _, err := c.MemberPromote(ctx, added.Member.ID); !errors.Is(err, rpctypes.ErrMemberNotLearner) {
		t.Errorf("promotion of a voter: %v", err)
	}
	if removed, err := c.MemberRemove(ctx, added.Member.ID); err != nil || len(removed.Members) != 1 {
		t.Fatalf("member remove: %v, %v", removed, err)
	}
	if _, err := c.MemberRemove(ctx, 99); !errors.Is(err, rpctypes.ErrMemberNotFound) {
		t.Errorf("removal of nobody: %v", err)
	}
	updated, err := c.MemberUpdate(ctx, 1, []string{"http://127.0.0.1:1"})
	if err != nil || updated.Members[0].PeerURLs[0] != "http://127.0.0.1:1" {
		t.Errorf("member update: %v, %v", updated, err)
	}
	_, err = c.MemberUpdate(ctx, 1, []string{"http://other@127.0.0.1:1"})
	if !errors.Is(err, rpctypes.ErrMemberBadURLs) {
		t.Errorf("member update with another's name: %v", err)
	}
	if _, err := c.MemberUpdate(ctx, 99, []string{"http://127.0.0.1:2"}); !errors.Is(err, rpctypes.ErrMemberNotFound) {
		t.Errorf("member update of nobody: %v", err)
	}
	bare := pb.NewClusterClient(n.Dial(t))
	for _, bad := range []string{"", "127.0.0.1:80", "http://nowhere", "ftp://h:1", "http://h:1/path"} {
		_, err := bare.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{bad}})
		if rpctypes.ErrorDesc(err) != rpctypes.ErrorDesc(rpctypes.ErrGRPCMemberBadURLs) {
			t.Errorf("peer URL %q: %v", bad, err)
		}
	}
}

// TestAChangeOfMembersAnswersWithIt, also at a node that has not heard of it yet: who adds a node reads from the answer
// how to start it.
func TestAChangeOfMembersAnswersWithIt(t *testing.T) {
	n := etcdapitest.Start(t, etcdapi.Limits{})
	c, ctx := client(t, n), bounded(t)
	learner, err := c.MemberAddAsLearner(ctx, []string{"http://test-2@127.0.0.1:9999"})
	if err != nil {
		t.Fatal(err)
	}
	n.Replicator.HearNoMore()
	added, err := c.MemberAdd(ctx, []string{"http://test-3@127.0.0.1:9998"})
	if err != nil || len(added.Members) != 3 || added.Members[2].ID != added.Member.ID {
		t.Errorf("add: %v, %v", added, err)
	}
	updated, err := c.MemberUpdate(ctx, learner.Member.ID, []string{"http://127.0.0.1:9997"})
	if err != nil || updated.Members[1].PeerURLs[0] != "http://127.0.0.1:9997" {
		t.Errorf("update: %v, %v", updated, err)
	}
	promoted, err := c.MemberPromote(ctx, learner.Member.ID)
	if err != nil || promoted.Members[1].IsLearner {
		t.Errorf("promote: %v, %v", promoted, err)
	}
	removed, err := c.MemberRemove(ctx, learner.Member.ID)
	if err != nil || len(removed.Members) != 1 {
		t.Errorf("remove: %v, %v", removed, err)
	}
}
