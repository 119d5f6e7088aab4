package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

const (
	// aheadBytes is what is held of what was watched and is not in the etcd yet.
	aheadBytes = 16 << 20
	// writeTime bounds how long a transaction may take.
	writeTime = time.Minute
	// noteEvery is how often the place is written where nothing but the revision changes.
	noteEvery = time.Minute
)

// session is a mirror with its two connections. It is used by one goroutine.
type session struct {
	*mirror
	cancel      func() // everything of it
	fleet, etcd sides.Side
	at          placed
	revision    int64 // up to which the etcd has everything
	noted       time.Time
	pack        pack
	packed      int64 // up to which it has it with the pack
	leases      *leases
	comparing   bool
	compared    int64
}

// begin makes this mirror the one that writes, and brings both in line if they are not.
func (s *session) begin(ctx context.Context) error {
	s.pack.most = s.MostOps - 1 // the place is one
	h, err := s.fleet.Header(ctx)
	if err != nil {
		return err
	}
	if s.at, err = readPlace(ctx, s.etcd, s.ToPrefix); err != nil {
		return err
	}
	if err := s.claim(ctx, strconv.FormatUint(h.ClusterId, 16)); err != nil {
		return err
	}
	s.began, s.revision, s.packed = true, s.at.Revision, s.at.Revision
	switch {
	case s.revision == 0:
		return s.compare(ctx, h.Revision)
	case s.revision > h.Revision:
		s.tell(fmt.Errorf("the place is revision %d, and the fleet is at %d: it was restored; both are compared",
			s.revision, h.Revision))
		return s.compare(ctx, h.Revision)
	}
	err = s.restore(ctx)
	if errors.Is(err, sides.ErrCompacted) {
		return s.compare(ctx, h.Revision)
	}
	return err
}

// claim puts the place with this mirror's name, so that all others are refused.
func (s *session) claim(ctx context.Context, fleet string) error {
	next := place{Version: placeVersion, Fleet: fleet, Prefix: s.Prefix, ToPrefix: s.ToPrefix, Revision: s.at.Revision,
		Run: s.run}
	switch was := s.at; {
	case s.began && was.Run != s.run:
		return fmt.Errorf("%w: it was started later", ErrOvertaken)
	case was.mod == 0:
		if err := s.unoccupied(ctx); err != nil {
			return err
		}
	case was.Fleet != fleet || was.Prefix != s.Prefix:
		if !s.Overwrite {
			return fmt.Errorf("%w: keys %q of fleet %s at %q; choose another --to-prefix, or --overwrite", ErrForeign,
				was.Prefix, was.Fleet, s.ToPrefix)
		}
		next.Revision = 0
	}
	return s.write(ctx, nil, &next)
}

// unoccupied returns ErrOccupied if there is something where nothing was mirrored yet.
func (s *session) unoccupied(ctx context.Context) error {
	if s.Overwrite {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	key, end := rangeOf(s.ToPrefix)
	r, err := pb.NewKVClient(s.etcd.Conn).Range(ctx, &pb.RangeRequest{
		Key: key, RangeEnd: end, Limit: 1, KeysOnly: true})
	switch {
	case err != nil:
		return fmt.Errorf("keys of the etcd: %w", err)
	case len(r.Kvs) > 0:
		return fmt.Errorf("%w, %q: choose another --to-prefix, or --overwrite to have replaced and deleted what the "+
			"fleet has otherwise", ErrOccupied, r.Kvs[0].Key)
	}
	return nil
}

// write has the etcd do operations, all or none, and the place stand at next unless that is nil, if nobody else has
// changed it.
func (s *session) write(ctx context.Context, ops []*pb.RequestOp, next *place) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if next != nil {
		op, err := s.at.put(*next)
		if err != nil {
			return err
		}
		ops = append(ops, op)
	}
	r, err := pb.NewKVClient(s.etcd.Conn).Txn(ctx, &pb.TxnRequest{Compare: s.at.unchanged(), Success: ops})
	switch {
	case status.Code(err) == codes.InvalidArgument:
		return fmt.Errorf("%w: %w (%d operations behind revision %d of the fleet; see --max-txn-ops here, and "+
			"--max-txn-ops and --max-request-bytes there)", ErrRefused, err, len(ops), s.revision)
	case err != nil:
		return fmt.Errorf("write to the etcd: %w", err)
	case !r.Succeeded:
		return fmt.Errorf("%w: it has changed the place, which is key %q", ErrOvertaken, s.at.key)
	}
	if next != nil {
		s.at.place, s.at.mod, s.noted = *next, r.Header.Revision, time.Now()
	}
	return nil
}

// flush writes what is packed, with the place behind it.
func (s *session) flush(ctx context.Context) error {
	if len(s.pack.ops) == 0 {
		return nil
	}
	next := s.at.place
	next.Revision = s.packed
	n := int64(len(s.pack.ops))
	if err := s.write(ctx, s.pack.take(), &next); err != nil {
		return err
	}
	s.revision, s.changed = s.packed, s.changed+n
	return nil
}

// feed is what was watched and waits.
type feed struct {
	revisions chan *sides.Revision // closed at the end
	err       error                // why, then
	room      *semaphore.Weighted
}

func (f *feed) run(ctx context.Context, w *sides.Watch) {
	defer close(f.revisions)
	for {
		r, err := w.Next()
		if err == nil {
			err = f.room.Acquire(ctx, min(r.Bytes, aheadBytes))
		}
		if err != nil {
			f.err = err
			return
		}
		select {
		case f.revisions <- r:
		case <-ctx.Done():
			f.err = ctx.Err()
			return
		}
	}
}

// follow writes what is watched until something fails. Where the history does not lead on both are compared.
func (s *session) follow(ctx context.Context) error {
	for {
		err := s.watch(ctx)
		if !errors.Is(err, sides.ErrCompacted) {
			return err
		}
		s.tell(fmt.Errorf("behind revision %d: %w, or a failover has lost a part of it: both are compared", s.revision,
			err))
		h, err := s.fleet.Header(ctx)
		if err != nil {
			return err
		}
		s.pack.take()
		if err := s.compare(ctx, h.Revision); err != nil {
			return err
		}
	}
}

func (s *session) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	key, end := rangeOf(s.Prefix)
	w, err := sides.OpenWatchOf(ctx, s.fleet.Conn, key, end, s.revision+1)
	if err != nil {
		cancel()
		return err
	}
	f := &feed{revisions: make(chan *sides.Revision, 256), room: semaphore.NewWeighted(aheadBytes)}
	go f.run(ctx, w)
	defer func() { // nothing outlives it
		cancel()
		for range f.revisions {
		}
	}()
	ticker := time.NewTicker(s.Poll)
	defer ticker.Stop()
	for {
		select {
		case r, more := <-f.revisions:
			if !more {
				return f.err
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
func (s *session) takeAll(ctx context.Context, f *feed, r *sides.Revision) error {
	for r != nil {
		if err := s.take(ctx, r); err != nil {
			return err
		}
		f.room.Release(min(r.Bytes, aheadBytes))
		select {
		case r = <-f.revisions:
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
		}
		s.pack.add(one)
	}
	s.changed += int64(len(changes) - len(s.pack.ops))
	s.packed = number
	return s.flush(ctx)
}

// pass takes note that nothing was changed up to a revision.
func (s *session) pass(ctx context.Context, number int64) error {
	if err := s.flush(ctx); err != nil || number <= s.revision {
		return err
	}
	s.revision, s.packed = number, number
	if time.Since(s.noted) < noteEvery {
		return nil
	}
	next := s.at.place
	next.Revision = number
	return s.write(ctx, nil, &next)
}

// changesOf returns what a revision is in the etcd. Its leases are there then.
func (s *session) changesOf(ctx context.Context, r *sides.Revision) ([]change, error) {
	changes := make([]change, 0, len(r.Events))
	for _, e := range r.Events {
		key := s.keyThere(e.Kv.Key)
		switch {
		case bytes.Equal(key, s.at.key):
			continue
		case e.Type == mvccpb.Event_DELETE:
			changes = append(changes, deleteOf(key))
			continue
		}
		lease, err := s.leases.need(ctx, e.Kv.Lease)
		if err != nil {
			return nil, err
		}
		changes = append(changes, putOf(&pb.PutRequest{Key: key, Value: e.Kv.Value, Lease: lease}))
	}
	return changes, nil
}

// poll keeps leases alive and reports.
func (s *session) poll(ctx context.Context) error {
	if err := s.leases.look(ctx, s.revision); err != nil {
		return err
	}
	h, err := s.fleet.Header(ctx)
	if err != nil {
		return err
	}
	s.report(h.Revision)
	return nil
}

func (s *session) report(fleet int64) {
	s.Report(Progress{Revision: s.revision, Fleet: fleet, Leases: len(s.leases.known), Comparing: s.comparing,
		Compared: s.compared, Changed: s.changed})
}

// keyThere returns the key of the etcd that a key of the fleet is.
func (s *session) keyThere(key []byte) []byte {
	return append([]byte(s.ToPrefix), bytes.TrimPrefix(key, []byte(s.Prefix))...)
}

// rangeOf returns the first key with a prefix, and the end of them.
func rangeOf(prefix string) (key, end []byte) {
	end = []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return []byte(prefix), end[:i+1]
		}
	}
	if prefix == "" {
		return sides.All, sides.All
	}
	return []byte(prefix), sides.All
}
