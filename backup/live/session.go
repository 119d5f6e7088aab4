package live

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi/follow"
)

const (
	// batchBytes is where a batch is closed.
	batchBytes = 512 << 10
	// applyTime bounds how long a batch may take.
	applyTime = time.Minute
	// lookTime is how long a side may take to tell of a revision that it has.
	lookTime = 5 * time.Second
	// usersEvery is every how many polls users are compared: the etcd asks its members for that.
	usersEvery = 5
)

// session is a follower with its two connections. It is used by one goroutine.
type session struct {
	*follower
	cancel      func() // everything of it
	etcd, fleet sides.Side
	node        *follow.Node
	users       users // of the fleet
	revision    int64 // of the fleet
	leases      leases
	polls       int
}

// begin finds out where the fleet is, and whether that is where the etcd was.
func (s *session) begin(ctx context.Context) error {
	bounded := time.AfterFunc(applyTime, s.cancel)
	defer bounded.Stop()
	node, state, err := follow.Open(ctx, s.fleet.Conn)
	switch {
	case err != nil:
		return fmt.Errorf("the fleet: %w", err)
	case !state.Follows && s.began:
		return errOpened
	case !state.Follows:
		return fmt.Errorf("%w: it was not made by mimir import --follow, or it was opened", ErrFollowsNot)
	}
	s.node, s.revision, s.users = node, state.Revision, users{state.AuthEnabled, state.AuthRevision}
	s.leases = leases{etcd: s.etcd, known: state.Leases, ending: map[int64]int64{}}
	if s.leases.known == nil {
		s.leases.known = map[int64]int64{}
	}
	h, err := s.etcd.Header(ctx)
	if err != nil {
		return err
	}
	if s.cluster != 0 && s.cluster != h.ClusterId {
		return fmt.Errorf("%w: the etcd was cluster %x, and is %x", ErrParted, s.cluster, h.ClusterId)
	}
	s.cluster = h.ClusterId
	if s.revision > h.Revision {
		return fmt.Errorf("%w: the fleet is at revision %d, and the etcd at %d: it is another etcd, it was restored, "+
			"or a failover of the fleet moved its revision; %s", ErrParted, s.revision, h.Revision, importAnew)
	}
	if err := s.sameChange(ctx); err != nil {
		return err
	}
	return s.poll(ctx)
}

// sameChange compares the last change that the fleet has with the etcd's, as far as it is still there.
func (s *session) sameChange(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	var both [2]*sides.Revision
	for i, side := range []sides.Side{s.etcd, s.fleet} {
		w, err := sides.OpenWatch(ctx, side.Conn, s.revision)
		if err == nil {
			both[i], err = w.Next()
		}
		if err != nil || both[i].Number != s.revision {
			return nil //nolint:nilerr // it is compacted, or no change; what comes next is compared anyway
		}
	}
	return same(both[0], both[1])
}

// run applies what is watched until something fails.
func (s *session) run(ctx context.Context) error {
	w, err := sides.OpenWatch(ctx, s.etcd.Conn, s.revision+1)
	if err != nil {
		return err
	}
	f := sides.NewFeed(ctx, w)
	defer func() {
		s.cancel()
		f.Drain()
	}()
	ticker := time.NewTicker(s.Poll)
	defer ticker.Stop()
	for {
		var err error
		select {
		case r, more := <-f.Revisions():
			if !more {
				return s.explain(f.Err())
			}
			err = s.take(ctx, f, r)
		case <-ticker.C:
			err = s.poll(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// explain adds the way out to the end of a watch.
func (s *session) explain(err error) error {
	if isFinal(err) {
		return fmt.Errorf("%w, and the fleet is at %d; %s, and start to follow at once; let the etcd keep more, with "+
			"--auto-compaction-retention of its members, or the interval of whoever compacts it", err, s.revision,
			importAnew)
	}
	return err
}

// take applies a revision, and those that wait behind it.
func (s *session) take(ctx context.Context, f *sides.Feed, r *sides.Revision) error {
	var batch []byte
	var taken []*sides.Revision
	at := s.revision
	for r != nil {
		if r.Number != at+1 {
			return fmt.Errorf("%w: behind revision %d of the etcd comes %d; %s", ErrParted, at, r.Number, importAnew)
		}
		c, err := commandOf(r)
		if err != nil {
			return err
		}
		if batch, err = s.leases.need(ctx, batch, r); err != nil {
			return err
		}
		batch, at = follow.AppendCommand(batch, c), r.Number
		taken, r = append(taken, r), nil
		if len(batch) < batchBytes {
			select {
			case r = <-f.Revisions():
			default:
			}
		}
	}
	if err := s.apply(batch); err != nil {
		return s.parted(ctx, taken[0], err)
	}
	f.Done(taken...)
	s.revision = at
	if batch = s.leases.end(s.revision); len(batch) == 0 {
		return nil
	}
	return s.apply(batch)
}

// parted says what of a revision is not as it should be in the fleet that has refused it, as far as that can be seen.
func (s *session) parted(ctx context.Context, r *sides.Revision, refused error) error {
	h, err := s.fleet.Header(ctx)
	if status.Code(refused) != codes.Aborted || err != nil || h.Revision != r.Number-1 {
		return refused // another batch was on its way
	}
	for _, e := range r.Events {
		answer, err := pb.NewKVClient(s.fleet.Conn).Range(ctx, &pb.RangeRequest{Key: e.Kv.Key, KeysOnly: true})
		if err != nil {
			return refused
		}
		here := &mvccpb.KeyValue{}
		if len(answer.Kvs) > 0 {
			here = answer.Kvs[0]
		}
		if put := e.Type == mvccpb.Event_PUT; put && here.Version != e.Kv.Version-1 || !put && here.Version == 0 {
			return fmt.Errorf("%w: key %q has version %d in the fleet, before the etcd's revision %d, where it has %d "+
				"(%v); %s", ErrParted, e.Kv.Key, here.Version, r.Number, e.Kv.Version, e.Type, importAnew)
		}
	}
	return refused
}

// apply has the fleet apply a batch, and learns whether it still follows.
func (s *session) apply(batch []byte) error {
	bounded := time.AfterFunc(applyTime, s.cancel)
	defer bounded.Stop()
	state, err := s.node.Apply(batch)
	if err != nil {
		return fmt.Errorf("behind revision %d of the fleet: %w", s.revision, err)
	}
	if !state.Follows {
		return errOpened
	}
	s.applied = s.applied || len(batch) > 0
	return nil
}

// poll compares leases and, now and then, users, and reports.
func (s *session) poll(ctx context.Context) error {
	if s.polls%usersEvery == 0 {
		now, err := usersOf(ctx, s.etcd)
		if err == nil {
			err = sameUsers(now, s.users)
		}
		if err != nil {
			return err
		}
	}
	s.polls++
	batch, err := s.leases.look(ctx, s.revision)
	if err == nil {
		err = s.apply(append(batch, s.leases.end(s.revision)...))
	}
	if err != nil {
		return err
	}
	h, err := s.etcd.Header(ctx)
	if err != nil {
		return err
	}
	s.Report(Progress{Revision: s.revision, Etcd: h.Revision, Leases: len(s.leases.known)})
	return nil
}
