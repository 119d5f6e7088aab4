package sides

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

const (
	// AnswerTime bounds a question. One that is not answered ends the session, and with it what hangs beside it.
	AnswerTime = 15 * time.Second
	// mostAsked bounds the questions under way.
	mostAsked = 16
)

// Side is one of the two: the etcd, or the fleet. It is safe for concurrent use.
type Side struct {
	Name string // "the etcd", "the fleet"
	Key  []byte // one that whoever asks may read; nil: root asks
	Conn grpc.ClientConnInterface
}

// Header returns what all that was acknowledged has led to.
func (s Side) Header(ctx context.Context) (*pb.ResponseHeader, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	key := s.Key
	if len(key) == 0 {
		key = All
	}
	r, err := pb.NewKVClient(s.Conn).Range(ctx, &pb.RangeRequest{Key: key, CountOnly: true})
	if err != nil {
		return nil, fmt.Errorf("revision of %s: %w", s.Name, err)
	}
	return r.Header, nil
}

// Leases returns the IDs of all leases.
func (s Side) Leases(ctx context.Context) (map[int64]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTime)
	defer cancel()
	r, err := pb.NewLeaseClient(s.Conn).LeaseLeases(ctx, &pb.LeaseLeasesRequest{}, Large)
	if err != nil {
		return nil, fmt.Errorf("leases of %s: %w", s.Name, err)
	}
	ids := make(map[int64]bool, len(r.Leases))
	for _, l := range r.Leases {
		ids[l.ID] = true
	}
	return ids, nil
}

// Granted returns the times to live in seconds that leases were granted, 0 for one that is gone.
func (s Side) Granted(ctx context.Context, ids []int64) (map[int64]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, AnswerTime+time.Duration(len(ids))*time.Millisecond)
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
