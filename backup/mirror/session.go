package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/backup/sides"
)

const (
	// writeTime bounds how long a transaction may take.
	writeTime = time.Minute
	// lookPolls is every how many polls it is looked who writes there, and which leases the fleet has.
	lookPolls = 5
)

// session is a mirror with its two connections. It is used by one goroutine.
type session struct {
	*mirror
	fleet, etcd sides.Side
	at          placed
	claimed     bool  // it is of this mirror, of what it has from this fleet
	revision    int64 // up to which the etcd has everything
	noted       time.Time
	pack        pack
	packed      int64 // up to which it has it with the pack
	given       int64 // the last revision that is packed with what was changed at it, and print is of that
	print       uint32
	leases      *leases
	polled      time.Time
	looked      time.Time
	comparing   bool // something may be missing
	compared    int64
	fresh       map[int64]bool // leases that were granted since the comparison was begun
	back        []int64        // leases that were granted anew since the place says that something may be missing
	rounds      int            // of bringing back what is under them
}

// begin makes this mirror the one that writes, and brings both in line if they are not.
func (s *session) begin(ctx context.Context) error {
	s.pack.most = s.MostOps - 1 // the place is one
	if err := s.claim(ctx); err != nil {
		return err
	}
	if err := s.bringInLine(ctx); err != nil {
		return err
	}
	s.leases.drop(s.leases.unasked()...)
	return nil
}

// bringInLine has the etcd be as the fleet was at the place, or is.
func (s *session) bringInLine(ctx context.Context) error {
	if s.at.Revision == 0 { // nothing there is of this fleet
		return s.compare(ctx)
	}
	if !s.at.Comparing {
		s.revision, s.packed = s.at.Revision, s.at.Revision
	}
	unknown, err := holdThere(ctx, s)
	switch {
	case err != nil:
		return err
	case s.at.Comparing:
		return s.compare(ctx)
	}
	err = s.restore(ctx, unknown)
	if errors.Is(err, sides.ErrCompacted) {
		return s.compare(ctx)
	}
	return err
}

// write has the etcd do operations, all or none, and the place stand at next unless that is nil, if nobody else has
// changed it. Where it may be missing for now, what is under leases that have ended meanwhile is put all the same.
func (s *session) write(ctx context.Context, ops []*pb.RequestOp, next *place) error {
	err := s.writeOnce(ctx, ops, next)
	for tries := 0; errors.Is(err, errLost) && tries < mostTries; tries++ {
		if err := s.lost(ctx, ops, err); err != nil {
			return err
		}
		err = s.writeOnce(ctx, ops, next)
	}
	return err
}

func (s *session) writeOnce(ctx context.Context, ops []*pb.RequestOp, next *place) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if next != nil {
		op, err := s.at.put(*next)
		if err != nil {
			return err
		}
		ops = append(slices.Clip(ops), op)
	}
	r, err := pb.NewKVClient(s.etcd.Conn).Txn(ctx, &pb.TxnRequest{
		Compare: s.at.unchanged(), Success: ops, Failure: s.at.read()})
	switch {
	case isRefusal(err):
		key, size := largest(ops)
		return fmt.Errorf("%w: %w (%d operations behind revision %d of the fleet, the largest with %d bytes of key "+
			"%q; see --max-txn-ops here, and --max-txn-ops and --max-request-bytes there)", ErrRefused, err, len(ops),
			s.revision, size, key)
	case errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound):
		return fmt.Errorf("%w: %w", errLost, err)
	case err != nil:
		return fmt.Errorf("write to the etcd: %w", err)
	case !r.Succeeded:
		var now placed
		if len(r.Responses) > 0 {
			if now, err = decodePlace(s.at.key, r.Responses[0].GetResponseRange().GetKvs()); err != nil {
				return err
			}
		}
		return s.changedTo(now)
	}
	if next != nil {
		if s.at.mod == 0 {
			s.at.created = r.Header.Revision
		}
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
	next.Revision, next.Given, next.Print = s.packed, s.given, s.print
	return s.flushTo(ctx, next)
}

// flushTo writes what is packed, if anything is, and has the place stand at next.
func (s *session) flushTo(ctx context.Context, next place) error {
	n := int64(len(s.pack.ops))
	if err := s.write(ctx, s.pack.take(), &next); err != nil {
		return err
	}
	s.revision, s.packed, s.changed = next.Revision, next.Revision, s.changed+n
	return nil
}

// tend polls if it is time to: while much is written nothing else does.
func (s *session) tend(ctx context.Context) error {
	if time.Since(s.polled) < s.Poll {
		return nil
	}
	return s.poll(ctx)
}

// poll looks after leases and reports, and looks now and then who writes and which leases are gone.
func (s *session) poll(ctx context.Context) error {
	if time.Since(s.looked) >= lookPolls*s.Poll {
		if err := s.still(ctx); err != nil {
			return err
		}
		if err := s.leases.compare(ctx); err != nil {
			return err
		}
		s.looked = time.Now()
	}
	if err := s.seeLeases(ctx); err != nil {
		return err
	}
	if err := s.endLeases(ctx); err != nil {
		return err
	}
	h, err := s.fleet.Header(ctx)
	if err != nil {
		return err
	}
	s.Report(Progress{Revision: s.revision, Fleet: h.Revision, Leases: s.leases.count(), Comparing: s.comparing,
		Compared: s.compared, Changed: s.changed})
	s.polled = time.Now()
	return nil
}

// still returns an error if the place is not as this mirror has put it.
func (s *session) still(ctx context.Context) error {
	now, err := readPlace(ctx, s.etcd, s.ToPrefix)
	if err != nil || now.mod == s.at.mod {
		return err
	}
	return s.changedTo(now)
}

// endLeases ends what the fleet has no more, and of which no key is left now that the etcd has everything up to there:
// as many as there is time for until the others are to be kept alive.
func (s *session) endLeases(ctx context.Context) error {
	if s.comparing {
		return nil
	}
	began := time.Now()
	for _, id := range s.leases.over(s.revision) {
		if err := s.still(ctx); err != nil { // it is not for who was overtaken
			return err
		}
		if err := s.leases.revoke(ctx, id); err != nil {
			return err
		}
		if time.Since(began) >= s.Poll {
			return nil
		}
	}
	return nil
}

// keyThere returns the key of the etcd that a key of the fleet is; false if it is none.
func (s *session) keyThere(key []byte) (there []byte, mirrored bool) {
	there = append([]byte(s.ToPrefix), bytes.TrimPrefix(key, []byte(s.Prefix))...)
	if len(there) == 0 && !s.emptied {
		s.emptied = true
		s.tell(fmt.Errorf("key %q of the fleet is left out: in the etcd it would be empty, which none may be", key))
	}
	return there, len(there) > 0 && !isPlace(there)
}
