package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

const (
	// leasesAtOnce is how many leases are asked about before those are kept alive that are there, and asked how many of
	// the questions are under way.
	leasesAtOnce, asked = 128, 16
)

// held is a lease of the etcd that is one of the fleet.
type held struct {
	ttl   time.Duration // as the fleet has granted it; 0: it is not known yet whether any key is under it
	lives time.Duration // as long as the etcd gives it each time that it is kept alive, but at most ttl
	since time.Time     // when it was known to be there first, as when it was granted
	kept  time.Time     // when it was kept alive last
	ended int64         // it is gone from the fleet at this revision; 0: it is not, as far as it is known
	lost  bool          // it has ended in the etcd
}

// leases are those of the fleet that keys are under, by the connections of a session. It is used by one goroutine,
// beside the one of keep.
type leases struct {
	fleet, etcd sides.Side
	mask        int64 // between their IDs here and there
	// one says that both are one cluster: what it lists are those of there as well, whose IDs lead to users' own.
	one bool
	*ledger
}

// ledger is what is known of leases. It outlives sessions, and is safe for concurrent use.
type ledger struct {
	mu     sync.Mutex
	known  map[int64]*held // by the ID in the fleet
	failed error           // why they could not be kept alive
}

func newLedger() *ledger { return &ledger{known: map[int64]*held{}} }

func newLeases(fleet, etcd sides.Side, toPrefix string, known *ledger) *leases {
	return &leases{fleet: fleet, etcd: etcd, mask: maskOf(toPrefix), ledger: known}
}

// maskOf returns what leases of the fleet are told apart with from those of others that are mirrored to the same etcd,
// or are of it. Nobody else can be where everything of the etcd is of this one.
func maskOf(toPrefix string) int64 {
	if toPrefix == "" {
		return 0
	}
	sum := sha256.Sum256(placeKey(toPrefix))
	return int64(binary.BigEndian.Uint64(sum[:]) & math.MaxInt64)
}

// there returns the ID in the etcd of a lease of the fleet, and the other way round. None is 0, which is no lease.
func (l *leases) there(id int64) int64 {
	if id == l.mask {
		return id
	}
	return id ^ l.mask
}

// anew leaves of what is known what another session may go by: which have ended, in the fleet or in the etcd, it finds
// out by itself.
func (l *ledger) anew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = nil
	for _, h := range l.known {
		h.ended, h.kept = 0, time.Time{}
	}
}

// add takes note of one that is in both.
func (l *ledger) add(id, ttl int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	granted := time.Duration(ttl) * time.Second
	l.known[id] = &held{ttl: granted, lives: granted, since: time.Now()}
}

// has reports whether one is known that something is under in the fleet: if it ended there it was granted anew.
func (l *ledger) has(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.known[id]
	if h == nil || h.ttl == 0 {
		return false
	}
	h.ended = 0
	return true
}

// holds reports whether one is kept alive, if only until it is known whether any key is under it.
func (l *ledger) holds(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[id] != nil
}

// count returns how many are known that keys are under.
func (l *ledger) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.known {
		if h.ttl > 0 {
			n++
		}
	}
	return n
}

// unasked returns those of which it is not known whether any key is under them.
func (l *ledger) unasked() (ids []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, h := range l.known {
		if h.ttl == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// strange returns those of the fleet's of which it is not known whether any key is under them, held or not.
func (l *ledger) strange(fleet map[int64]bool) (ids []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range fleet {
		if h := l.known[id]; h == nil || h.ttl == 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// drop forgets some, which end in the etcd by themselves.
func (l *ledger) drop(ids ...int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(l.known, id)
	}
}

// over returns those that were gone from the fleet at a revision.
func (l *ledger) over(revision int64) (ids []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, h := range l.known {
		if h.ended != 0 && h.ended <= revision {
			ids = append(ids, id)
		}
	}
	return ids
}

// need returns under which lease of the etcd something is that is under one of the fleet: 0 if that is gone there, so
// that what is under it is about to be deleted. It is fresh if it was not in the etcd: no key is under it there.
func (l *leases) need(ctx context.Context, id int64) (lease int64, fresh bool, err error) {
	if id == 0 {
		return 0, false, nil
	}
	if l.has(id) {
		return l.there(id), false, nil
	}
	times, err := l.fleet.Granted(ctx, []int64{id})
	if err != nil || times[id] <= 0 {
		return 0, false, err
	}
	if fresh, err = l.grant(ctx, id, times[id]); err != nil {
		return 0, false, err
	}
	l.add(id, times[id])
	return l.there(id), fresh, nil
}

// grant grants one in the etcd; false if it is there.
func (l *leases) grant(ctx context.Context, id, ttl int64) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	_, err = pb.NewLeaseClient(l.etcd.Conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: l.there(id), TTL: ttl})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseExist):
		return false, nil
	}
	return false, fmt.Errorf("grant lease %x in the etcd: %w", id, err)
}

// answerTime bounds a question about so many leases.
func answerTime(leases int) time.Duration {
	return sides.AnswerTime + time.Duration(leases)*time.Millisecond
}

// span is a lease and its time to live in seconds, as it was granted.
type span struct{ id, ttl int64 }

// find keeps on those of the fleet's leases that keys with a prefix are under, of some that are held if they are in the
// etcd, or from now on in one cluster, and returns those that are not there.
func (l *leases) find(ctx context.Context, ids []int64, prefix string) (ended []span, err error) {
	used := make([]span, len(ids)) // no time: it is not
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(asked)
	for i, id := range ids {
		group.Go(func() error {
			keys, ttl, err := l.keysOf(within, id, prefix)
			used[i].id = id
			if ttl > 0 && len(keys) > 0 {
				used[i].ttl = ttl
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if l.one {
		if err := l.renewAll(ctx, withKeys(used), l.found); err != nil {
			return nil, err
		}
	}
	for _, s := range used {
		switch {
		case s.ttl == 0:
			l.drop(s.id)
		case l.holds(s.id):
			l.add(s.id, s.ttl)
		default:
			ended = append(ended, s)
		}
	}
	return ended, l.keepAlive(ctx)
}

// withKeys returns the IDs of those that have a time: keys are under them.
func withKeys(some []span) (ids []int64) {
	for _, s := range some {
		if s.ttl > 0 {
			ids = append(ids, s.id)
		}
	}
	return ids
}

// grantAll grants some that are not in the etcd, and keeps them from now on.
func (l *leases) grantAll(ctx context.Context, all []span) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(asked)
	for _, s := range all {
		group.Go(func() error {
			_, err := l.grant(within, s.id, s.ttl)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, s := range all {
		l.add(s.id, s.ttl)
	}
	return l.keepAlive(ctx)
}

// list returns the IDs of the fleet's leases.
func (l *leases) list(ctx context.Context) (map[int64]bool, error) {
	ids, err := l.fleet.Leases(ctx)
	return ids, explained(err)
}

// explained says who may know of leases, if who asks may not.
func explained(err error) error {
	if status.Code(err) == codes.PermissionDenied {
		return fmt.Errorf("%w: leases are told to root, or to who may read all keys that are under any: give the user "+
			"of the fleet one of both", err)
	}
	return err
}

// compare finds out which leases are gone from the fleet.
func (l *leases) compare(ctx context.Context) error {
	there, err := l.list(ctx)
	if err != nil {
		return err
	}
	gone := l.missing(there)
	times, err := l.fleet.Granted(ctx, gone)
	if err != nil || len(gone) == 0 {
		return err
	}
	h, err := l.fleet.Header(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range gone {
		if one := l.known[id]; one != nil && times[id] <= 0 { // the list may be of a node that is behind
			one.ended = h.Revision
		}
	}
	return nil
}

// missing returns those that are known and not in the fleet, of which that is not known.
func (l *ledger) missing(fleet map[int64]bool) (ids []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, h := range l.known {
		if !fleet[id] && h.ended == 0 && h.ttl > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// revoke ends one in the etcd, which is not known then.
func (l *leases) revoke(ctx context.Context, id int64) error {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	_, err := pb.NewLeaseClient(l.etcd.Conn).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: l.there(id)})
	if err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("revoke lease %x in the etcd: %w", id, err)
	}
	l.drop(id)
	return nil
}

// keysOf returns the keys with a prefix that are under a lease of the fleet, and the time to live that it was granted:
// not above 0 if it is gone.
func (l *leases) keysOf(ctx context.Context, id int64, prefix string) (keys [][]byte, ttl int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	r, err := pb.NewLeaseClient(l.fleet.Conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: true},
		sides.Large)
	if err != nil {
		return nil, 0, explained(fmt.Errorf("keys of lease %x of the fleet: %w", id, err))
	}
	for _, key := range r.Keys {
		if strings.HasPrefix(string(key), prefix) {
			keys = append(keys, key)
		}
	}
	return keys, r.GrantedTTL, nil
}
