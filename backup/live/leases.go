package live

import (
	"context"
	"maps"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi/follow"
	"github.com/mimir-kv/mimir/kv/command"
)

const (
	// provisionalTTL is what a lease has that the etcd has ended already, for as long as its keys are still there.
	provisionalTTL = 60
	// againAsked is how many of the leases that are known are asked about at a time: one may have been granted anew
	// with another time.
	againAsked = 64
)

// leases are those of the fleet, on their way to be those of the etcd. It is used by one goroutine.
type leases struct {
	etcd  sides.Side
	known map[int64]int64 // in the fleet, with their times
	// ending are those that are gone from the etcd: at this revision certainly, so that then no key is theirs.
	ending map[int64]int64
	asked  int64 // up to this ID
}

// grant adds to a batch what gives leases the times that they have, if they have not.
func (l *leases) grant(batch []byte, after int64, times map[int64]int64) []byte {
	for _, id := range slices.Sorted(maps.Keys(times)) {
		if ttl := times[id]; ttl > 0 && ttl != l.known[id] {
			q := command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: id, TTL: ttl})
			batch = follow.AppendCommand(batch, command.EncodeFollowed(after, q))
			l.known[id] = ttl
		}
	}
	return batch
}

// need adds to a batch the leases that a revision attaches keys to. One that is gone from the etcd is granted for now.
func (l *leases) need(ctx context.Context, batch []byte, r *sides.Revision) ([]byte, error) {
	var ids []int64
	for _, e := range r.Events {
		id := e.Kv.Lease
		delete(l.ending, id) // it was granted again
		if id != 0 && l.known[id] == 0 && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return batch, nil
	}
	times, err := l.etcd.Granted(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if times[id] == 0 {
			times[id] = provisionalTTL
		}
	}
	return l.grant(batch, r.Number-1, times), nil
}

// look compares with the etcd, and returns a batch of what is to be granted.
func (l *leases) look(ctx context.Context, after int64) ([]byte, error) {
	there, err := l.etcd.Leases(ctx)
	if err != nil {
		return nil, err
	}
	var ask, gone []int64
	for id := range there {
		delete(l.ending, id)
		if l.known[id] == 0 {
			ask = append(ask, id)
		}
	}
	for id := range l.known {
		if !there[id] && l.ending[id] == 0 {
			gone = append(gone, id)
		}
	}
	ask = append(ask, l.again()...)
	times, err := l.etcd.Granted(ctx, append(ask, gone...))
	if err != nil {
		return nil, err
	}
	gone = slices.DeleteFunc(gone, func(id int64) bool { return times[id] > 0 }) // the list was of a node behind
	if len(gone) > 0 {
		h, err := l.etcd.Header(ctx)
		if err != nil {
			return nil, err
		}
		for _, id := range gone {
			l.ending[id] = h.Revision
		}
	}
	return l.grant(nil, after, times), nil
}

// again returns the next ones to ask about.
func (l *leases) again() []int64 {
	ids := slices.Sorted(maps.Keys(l.known))
	at, found := slices.BinarySearch(ids, l.asked)
	if found {
		at++
	}
	ids = ids[at:]
	if len(ids) <= againAsked {
		l.asked = 0
		return ids
	}
	l.asked = ids[againAsked-1]
	return ids[:againAsked]
}

// end returns a batch that ends what has ended in the etcd, as far as the fleet has come.
func (l *leases) end(after int64) (batch []byte) {
	for _, id := range slices.Sorted(maps.Keys(l.ending)) {
		if l.ending[id] > after {
			continue
		}
		q := command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: id})
		batch = follow.AppendCommand(batch, command.EncodeFollowed(after, q))
		delete(l.ending, id)
		delete(l.known, id)
	}
	return batch
}
