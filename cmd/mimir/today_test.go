package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

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

// leaseAnswers are those to questions about a lease, in order, and then an error.
type leaseAnswers struct {
	pb.UnimplementedLeaseServer
	next chan *pb.LeaseTimeToLiveResponse
}

// noAnswer and noEnd are answers that are none: that the fleet is away, and none until nobody waits for it any more.
var noAnswer, noEnd = new(pb.LeaseTimeToLiveResponse), new(pb.LeaseTimeToLiveResponse)

func (l *leaseAnswers) LeaseTimeToLive(
	ctx context.Context, _ *pb.LeaseTimeToLiveRequest,
) (*pb.LeaseTimeToLiveResponse, error) {
	switch answer, more := <-l.next; {
	case !more:
		return nil, grpcstatus.Error(codes.PermissionDenied, "on purpose")
	case answer == noAnswer:
		return nil, rpctypes.ErrGRPCTimeout
	case answer == noEnd:
		<-ctx.Done()
		return nil, grpcstatus.FromContextError(ctx.Err()).Err()
	default:
		return answer, nil
	}
}

// leaseFleet returns a fleet whose answers about leases are given by the test, each tried once.
func leaseFleet(t *testing.T) (fleet *today, next chan<- *pb.LeaseTimeToLiveResponse) {
	t.Helper()
	l := &leaseAnswers{next: make(chan *pb.LeaseTimeToLiveResponse, 4)}
	at, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterLeaseServer(s, l)
	go s.Serve(at) //nolint:errcheck // ends with Stop
	t.Cleanup(s.Stop)
	fleet, err = todayBy(t.Context(), clientv3.Config{Endpoints: []string{at.Addr().String()}, MaxUnaryRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fleet.client.Close() })
	return fleet, l.next
}

// Whether a lease lives on of which nothing is left, since its end was asked for, is asked again. Errors say which it
// is.
func TestALeaseOfWhichNothingIsLeftIsAskedAboutAgain(t *testing.T) {
	fleet, next := leaseFleet(t)
	keys := [][]byte{[]byte("k")}
	for _, ttl := range []struct{ left, granted int64 }{{0, 2}, {2, 2}, {0, 2}, {-1, 0}} {
		next <- &pb.LeaseTimeToLiveResponse{ID: 7, TTL: ttl.left, GrantedTTL: ttl.granted, Keys: keys}
	}
	close(next)
	if keys, err := fleet.Lease(t.Context(), 7); err != nil || len(keys) != 1 || keys[0] != "k" {
		t.Errorf("one that lives on: %q, %v", keys, err)
	}
	if keys, err := fleet.Lease(t.Context(), 7); !errors.Is(err, replay.ErrNoLease) {
		t.Errorf("one that is gone: %q, %v", keys, err)
	}
	if keys, err := fleet.Lease(t.Context(), 7); err == nil || !strings.Contains(err.Error(), "lease 7: ") {
		t.Errorf("one that may not be asked about: %q, %v", keys, err)
	}
}

// The end of a lease is waited for while the fleet does not answer, too, and not for ever.
func TestTheEndOfALeaseIsWaitedForWhileTheFleetIsAway(t *testing.T) {
	ending := &pb.LeaseTimeToLiveResponse{ID: 7, TTL: -1, GrantedTTL: 2}
	fleet, next := leaseFleet(t)
	for _, answer := range []*pb.LeaseTimeToLiveResponse{ending, noAnswer, {ID: 7, TTL: -1}} {
		next <- answer
	}
	if keys, err := fleet.Lease(t.Context(), 7); !errors.Is(err, replay.ErrNoLease) {
		t.Errorf("one that is gone when the fleet is back: %q, %v", keys, err)
	}
	next <- noAnswer
	if keys, err := fleet.Lease(t.Context(), 7); err == nil || !strings.Contains(err.Error(), "lease 7: ") {
		t.Errorf("one of which nothing was said: %q, %v", keys, err)
	}
	fleet.ends = 2 * endPause
	next <- ending
	next <- noEnd
	close(next)
	if keys, err := fleet.Lease(t.Context(), 7); err == nil || !strings.Contains(err.Error(), "start again once") {
		t.Errorf("one that is never gone: %q, %v", keys, err)
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
