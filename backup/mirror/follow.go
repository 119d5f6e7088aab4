package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// noteEvery is how often the place is written where nothing but the revision changes.
const noteEvery = time.Minute

// follow writes what is watched until something fails. Where the history does not lead on both are compared.
func (s *session) follow(ctx context.Context) error {
	for {
		err := s.watch(ctx)
		if errors.Is(err, errLost) {
			s.tell(fmt.Errorf("behind revision %d: %w: what is under them is brought anew", s.revision, err))
			if err = s.bringBack(ctx, nil); err == nil {
				continue
			}
		}
		if !errors.Is(err, sides.ErrCompacted) {
			return err
		}
		s.tell(fmt.Errorf("behind revision %d: %w, or a failover has lost a part of it: both are compared", s.revision,
			err))
		if err := s.compare(ctx); err != nil {
			return err
		}
	}
}

func (s *session) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	key, end := sides.RangeOf(s.Prefix)
	w, err := sides.OpenWatchOf(ctx, s.fleet.Conn, sides.Wanted{Key: key, End: end, From: s.revision + 1})
	if err != nil {
		cancel()
		return err
	}
	f := sides.NewFeed(ctx, w)
	defer func() {
		cancel()
		f.Drain()
	}()
	ticker := time.NewTicker(s.Poll)
	defer ticker.Stop()
	for {
		select {
		case r, more := <-f.Revisions():
			if !more {
				return f.Err()
			}
			err = s.takeAll(ctx, f, r)
		case <-ticker.C:
			if err = s.poll(ctx); err == nil {
				err = w.Ask()
			}
		}
		if err != nil {
			return err
		}
	}
}

// takeAll writes a revision, and those that wait behind it.
func (s *session) takeAll(ctx context.Context, f *sides.Feed, r *sides.Revision) error {
	for r != nil {
		if err := s.take(ctx, r); err != nil {
			return err
		}
		f.Done(r)
		if err := s.tend(ctx); err != nil {
			return err
		}
		select {
		case r = <-f.Revisions():
		default:
			r = nil
		}
	}
	return s.flush(ctx)
}

// take packs a revision, and writes what is full.
func (s *session) take(ctx context.Context, r *sides.Revision) error {
	if len(r.Events) == 0 {
		return s.pass(ctx, r.Number)
	}
	changes, err := s.changesOf(ctx, r)
	if err != nil {
		return err
	}
	if !s.pack.fits(changes) {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.given, s.print = r.Number, sides.PrintOf(r.Events)
	if !s.pack.fits(changes) {
		return s.takeLarge(ctx, r.Number, changes)
	}
	s.pack.add(changes)
	s.packed = r.Number
	return nil
}

// takeLarge writes a revision that does not go into one transaction.
func (s *session) takeLarge(ctx context.Context, number int64, changes []change) error {
	for i := range changes {
		one := changes[i : i+1]
		if !s.pack.fits(one) {
			if err := s.write(ctx, s.pack.take(), nil); err != nil {
				return err
			}
			if err := s.tend(ctx); err != nil {
				return err
			}
		}
		s.pack.add(one)
	}
	s.changed += int64(len(changes) - len(s.pack.ops))
	s.packed = number
	return s.flush(ctx)
}

// pass takes note that nothing was changed up to a revision.
func (s *session) pass(ctx context.Context, number int64) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	number = max(number, s.revision)
	s.revision, s.packed = number, number
	if number <= s.at.Revision || time.Since(s.noted) < noteEvery {
		return nil
	}
	next := s.at.place
	next.Revision = number
	return s.write(ctx, nil, &next)
}

// changesOf returns what a revision is in the etcd. Its leases are there then. What was under one that was not there is
// not missing: whatever was at the place has been brought, and what was changed since comes.
func (s *session) changesOf(ctx context.Context, r *sides.Revision) ([]change, error) {
	changes := make([]change, 0, len(r.Events))
	for _, e := range r.Events {
		key, mirrored := s.keyThere(e.Kv.Key)
		switch {
		case !mirrored:
			continue
		case e.Type == mvccpb.Event_DELETE:
			changes = append(changes, deleteOf(key))
			continue
		}
		lease, _, err := s.leases.need(ctx, e.Kv.Lease)
		if err != nil {
			return nil, err
		}
		changes = append(changes, putOf(&pb.PutRequest{Key: key, Value: e.Kv.Value, Lease: lease}))
	}
	return changes, nil
}
