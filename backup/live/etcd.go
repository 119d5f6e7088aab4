package live

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

const (
	// answerTime bounds a question. One that is not answered ends the session, and with it what hangs beside it.
	answerTime = 15 * time.Second
	// mostAsked bounds the questions under way.
	mostAsked = 16
)

// Side is one of the two: the etcd, or the fleet. It is safe for concurrent use.
type Side struct {
	Name string // "the etcd", "the fleet"
	Conn grpc.ClientConnInterface
}

// header returns what all that was acknowledged has led to.
func (s Side) header(ctx context.Context) (*pb.ResponseHeader, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := pb.NewKVClient(s.Conn).Range(ctx, &pb.RangeRequest{Key: all, CountOnly: true})
	if err != nil {
		return nil, fmt.Errorf("revision of %s: %w", s.Name, err)
	}
	return r.Header, nil
}

// leases returns the IDs of all leases.
func (s Side) leases(ctx context.Context) (map[int64]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := pb.NewLeaseClient(s.Conn).LeaseLeases(ctx, &pb.LeaseLeasesRequest{}, large)
	if err != nil {
		return nil, fmt.Errorf("leases of %s: %w", s.Name, err)
	}
	ids := make(map[int64]bool, len(r.Leases))
	for _, l := range r.Leases {
		ids[l.ID] = true
	}
	return ids, nil
}

// granted returns the times to live in seconds that leases were granted, 0 for one that is gone.
func (s Side) granted(ctx context.Context, ids []int64) (map[int64]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime+time.Duration(len(ids))*time.Millisecond)
	defer cancel()
	all := make([]int64, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(mostAsked)
	for i, id := range ids {
		group.Go(func() error {
			r, err := pb.NewLeaseClient(s.Conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id})
			if err == nil {
				all[i] = r.GrantedTTL
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("time to live of a lease of %s: %w", s.Name, err)
	}
	times := make(map[int64]int64, len(ids))
	for i, id := range ids {
		times[id] = all[i]
	}
	return times, nil
}

// users is whether authentication is on, and the revision of users and roles.
type users struct {
	enabled  bool
	revision uint64
}

func (u users) String() string {
	if u.enabled {
		return fmt.Sprintf("enabled, at revision %d", u.revision)
	}
	return fmt.Sprintf("not enabled, at revision %d", u.revision)
}

func (s Side) users(ctx context.Context) (users, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := pb.NewAuthClient(s.Conn).AuthStatus(ctx, &pb.AuthStatusRequest{})
	if err != nil {
		return users{}, fmt.Errorf("users of %s: %w", s.Name, err)
	}
	return users{r.Enabled, r.AuthRevision}, nil
}

// sameUsers returns ErrUsers if those of an etcd are not those of the fleet.
func sameUsers(etcd, fleet users) error {
	if etcd == fleet {
		return nil
	}
	return fmt.Errorf("%w: in the etcd authentication is %v, in the fleet %v; do not change users and roles while the "+
		"fleet follows; %s", ErrUsers, etcd, fleet, importAnew)
}
