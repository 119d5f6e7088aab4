package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/backup/sides"
)

// lookEvery is how often it is looked which leases the fleet has.
const lookEvery = 5 * time.Second

// held is a lease of the etcd that is one of the fleet.
type held struct {
	ttl   time.Duration
	kept  time.Time // when it was kept alive last
	ended int64     // it is gone from the fleet at this revision; 0: it is not, as far as it is known
}

// leases are those of the fleet that keys are under. It is used by one goroutine.
type leases struct {
	fleet, etcd sides.Side
	known       map[int64]*held
	looked      time.Time
}

func newLeases(fleet, etcd sides.Side) *leases {
	return &leases{fleet: fleet, etcd: etcd, known: map[int64]*held{}}
}

// need returns under which lease of the etcd something is that is under one of the fleet: 0 if that is gone there, so
// that what is under it is about to be deleted.
func (l *leases) need(ctx context.Context, id int64) (int64, error) {
	if id == 0 {
		return 0, nil
	}
	if h := l.known[id]; h != nil {
		h.ended = 0 // it was granted anew
		return id, nil
	}
	times, err := l.fleet.Granted(ctx, []int64{id})
	if err != nil || times[id] <= 0 {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	_, err = pb.NewLeaseClient(l.etcd.Conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: times[id]})
	if err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseExist) {
		return 0, fmt.Errorf("grant lease %x in the etcd: %w", id, err)
	}
	l.known[id] = &held{ttl: time.Duration(times[id]) * time.Second}
	return id, nil
}

// look keeps alive what the fleet has, and ends what it has no more and of which no key is left, now that the etcd has
// everything up to a revision.
func (l *leases) look(ctx context.Context, revision int64) error {
	if time.Since(l.looked) >= lookEvery {
		if err := l.compare(ctx); err != nil {
			return err
		}
		l.looked = time.Now()
	}
	if err := l.keepAlive(ctx); err != nil {
		return err
	}
	for id, h := range l.known {
		if h.ended == 0 || h.ended > revision {
			continue
		}
		if err := l.revoke(ctx, id); err != nil {
			return err
		}
		delete(l.known, id)
	}
	return nil
}

// compare finds out which leases are gone from the fleet.
func (l *leases) compare(ctx context.Context) error {
	there, err := l.fleet.Leases(ctx)
	if err != nil {
		return err
	}
	var gone []int64
	for id, h := range l.known {
		if !there[id] && h.ended == 0 {
			gone = append(gone, id)
		}
	}
	times, err := l.fleet.Granted(ctx, gone)
	if err != nil || len(gone) == 0 {
		return err
	}
	h, err := l.fleet.Header(ctx)
	if err != nil {
		return err
	}
	for _, id := range gone {
		if times[id] <= 0 { // the list may be of a node that is behind
			l.known[id].ended = h.Revision
		}
	}
	return nil
}

// keepAlive renews those of which a third of the time is over.
func (l *leases) keepAlive(ctx context.Context) error {
	var due []int64
	for id, h := range l.known {
		if time.Since(h.kept) >= h.ttl/3 {
			due = append(due, id)
		}
	}
	if len(due) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime+time.Duration(len(due))*time.Millisecond)
	defer cancel()
	stream, err := pb.NewLeaseClient(l.etcd.Conn).LeaseKeepAlive(ctx)
	if err != nil {
		return fmt.Errorf("keep leases alive in the etcd: %w", err)
	}
	began := time.Now()
	go func() {
		for _, id := range due {
			if stream.Send(&pb.LeaseKeepAliveRequest{ID: id}) != nil {
				return // which is received
			}
		}
	}()
	for range due {
		r, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("keep leases alive in the etcd: %w", err)
		}
		h := l.known[r.ID]
		switch {
		case h == nil:
		case r.TTL <= 0 && h.ended == 0:
			delete(l.known, r.ID)
			return fmt.Errorf("lease %x has ended in the etcd, and not in the fleet: what is under it is brought anew",
				r.ID)
		default:
			h.kept = began
		}
	}
	return nil
}

func (l *leases) revoke(ctx context.Context, id int64) error {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	_, err := pb.NewLeaseClient(l.etcd.Conn).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id})
	if err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("revoke lease %x in the etcd: %w", id, err)
	}
	return nil
}

// keysOf returns the keys with a prefix that are under a lease of the fleet.
func (l *leases) keysOf(ctx context.Context, id int64, prefix string) (keys [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	r, err := pb.NewLeaseClient(l.fleet.Conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true},
		sides.Large)
	if err != nil {
		return nil, fmt.Errorf("keys of lease %x of the fleet: %w", id, err)
	}
	for _, key := range r.Keys {
		if strings.HasPrefix(string(key), prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// restore brings what was under leases that have ended in the etcd and not in the fleet, as it was at the place; what
// was changed since comes behind it.
func (s *session) restore(ctx context.Context) error {
	here, err := s.fleet.Leases(ctx)
	if err != nil {
		return err
	}
	there, err := s.etcd.Leases(ctx)
	if err != nil {
		return err
	}
	for id := range here {
		keys, err := s.leases.keysOf(ctx, id, s.Prefix)
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			continue
		}
		if _, err := s.leases.need(ctx, id); err != nil {
			return err
		}
		if there[id] {
			continue
		}
		for _, key := range keys {
			if err := s.restoreKey(ctx, id, key); err != nil {
				return err
			}
		}
	}
	if len(s.pack.ops) == 0 {
		return nil
	}
	s.changed += int64(len(s.pack.ops))
	return s.write(ctx, s.pack.take(), nil)
}

func (s *session) restoreKey(ctx context.Context, id int64, key []byte) error {
	within, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	r, err := pb.NewKVClient(s.fleet.Conn).Range(within, &pb.RangeRequest{Key: key, Revision: s.revision}, sides.Large)
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return sides.ErrCompacted
	case err != nil:
		return fmt.Errorf("key %q of the fleet: %w", key, err)
	case len(r.Kvs) == 0 || r.Kvs[0].Lease != id:
		return nil
	}
	return s.bring(ctx, putOf(&pb.PutRequest{Key: s.keyThere(key), Value: r.Kvs[0].Value, Lease: id}))
}
