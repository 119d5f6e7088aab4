package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// benchTTL is for how many seconds a lease is granted. It outlives any measurement.
const (
	benchTTL      = 3600
	revokeTimeout = 5 * time.Second
)

var errLeaseGone = errors.New("the lease is gone")

// keeperSet lends a stream with a lease to each caller, as many as there are.
type keeperSet struct {
	cancel context.CancelFunc
	mu     sync.Mutex
	idle   map[*clientv3.Client][]*keeper
	all    []*keeper
}

type keeper struct {
	client *clientv3.Client
	stream pb.Lease_LeaseKeepAliveClient
	lease  int64
}

// keepers makes the streams and leases of all callers of o.
func keepers(ctx context.Context, o *Options, t *target) (*keeperSet, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &keeperSet{cancel: cancel, idle: map[*clientv3.Client][]*keeper{}}
	for i := range o.Clients {
		k := &keeper{client: t.clients[i%len(t.clients)]}
		api := pb.NewLeaseClient(k.client.ActiveConnection())
		granted, err := api.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: benchTTL})
		if err == nil {
			k.lease = granted.ID
			k.stream, err = api.LeaseKeepAlive(ctx)
		}
		if err != nil {
			cancel()
			return nil, err
		}
		s.idle[k.client] = append(s.idle[k.client], k)
		s.all = append(s.all, k)
	}
	return s, nil
}

// work keeps a lease alive once.
func (s *keeperSet) work(_ context.Context, c *clientv3.Client, _ *rand.Rand) error {
	s.mu.Lock()
	list := s.idle[c]
	k := list[len(list)-1]
	s.idle[c] = list[:len(list)-1]
	s.mu.Unlock()
	err := k.once()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle[c] = append(s.idle[c], k)
	return err
}

func (k *keeper) once() error {
	if err := k.stream.Send(&pb.LeaseKeepAliveRequest{ID: k.lease}); err != nil {
		return err
	}
	answer, err := k.stream.Recv()
	if err == nil && answer.TTL <= 0 {
		return errLeaseGone
	}
	return err
}

// close ends the streams, and lets the leases go.
func (s *keeperSet) close() {
	for _, k := range s.all {
		ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
		api := pb.NewLeaseClient(k.client.ActiveConnection())
		_, _ = api.LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: k.lease}) // else it ends by itself
		cancel()
	}
	s.cancel()
}
