package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/backup/sides"
)

const (
	// mostTries is how often one transaction is tried anew because a lease in it has ended meanwhile.
	mostTries = 10
	// mostRounds is how often what is under leases that end over and over is brought back before what was changed
	// since is seen to.
	mostRounds = 3
)

// errLost says that leases have ended in the etcd alone.
var errLost = errors.New("leases of the fleet have ended in the etcd")

// seeLeases looks which leases could not be kept alive. Where the place says that something may be missing they are
// granted anew, and what is under them comes before it says otherwise; else the error is errLost.
func (s *session) seeLeases(ctx context.Context) error {
	if err := s.leases.failure(); err != nil {
		if !s.comparing {
			return err
		}
		s.tell(err)
	}
	lost := s.leases.lost()
	switch {
	case len(lost) == 0, s.comparing && (!s.at.Comparing || s.rounds >= mostRounds): // it is seen to behind that
		return nil
	case !s.comparing:
		return errLost
	}
	return s.regrant(ctx, lost)
}

// lost grants anew what operations need that the etcd has refused, where that may be done.
func (s *session) lost(ctx context.Context, ops []*pb.RequestOp, refused error) error {
	var ids []int64
	for _, op := range ops {
		if id := op.GetRequestPut().GetLease(); id != 0 {
			ids = append(ids, s.leases.there(id))
		}
	}
	slices.Sort(ids)
	if err := s.leases.renew(ctx, slices.Compact(ids)); err != nil {
		return err
	}
	lost := s.leases.lost()
	switch {
	case len(lost) == 0:
		return fmt.Errorf("write to the etcd: %w, and is none that is known", rpctypes.ErrLeaseNotFound)
	case !s.at.Comparing:
		return refused
	}
	return s.regrant(ctx, lost)
}

// regrant grants leases anew under which something is to come back.
func (s *session) regrant(ctx context.Context, ended []span) error {
	if err := s.still(ctx); err != nil { // it is not for who was overtaken
		return err
	}
	if err := s.leases.grantAll(ctx, ended); err != nil {
		return err
	}
	for _, lease := range ended {
		s.back = append(s.back, lease.id)
	}
	return nil
}

// holdThere keeps alive all that is in the etcd of the fleet's leases, before it is looked what is under which, or
// compared, which may take longer than they live. It returns those that are to be asked about.
func holdThere(ctx context.Context, s *session) (unknown []int64, err error) {
	s.comparing = true
	defer func() { s.comparing = false }()
	if err := inParts(ctx, s.leases.due(), s.leases.renew, s.tend); err != nil { // those that an earlier session knew
		return nil, err
	}
	here, err := s.leases.list(ctx)
	if err != nil {
		return nil, err
	}
	s.leases.drop(slices.DeleteFunc(s.leases.unasked(), func(id int64) bool { return here[id] })...)
	unknown = s.leases.strange(here)
	others := slices.DeleteFunc(slices.Clone(unknown), s.leases.holds)
	return unknown, inParts(ctx, others, s.leases.hold, s.tend)
}

// inParts does something with leases, some at a time, and polls between. What is done with a part counts, also if the
// next one fails.
func inParts(ctx context.Context, ids []int64, do func(context.Context, []int64) error,
	tend func(context.Context) error) error {
	for some := range slices.Chunk(ids, partLeases) {
		if err := do(ctx, some); err != nil {
			return err
		}
		if err := tend(ctx); err != nil {
			return err
		}
	}
	return nil
}

// restore looks which leases have ended in the etcd and not in the fleet, of some of which nothing is known, and brings
// back what was under them.
func (s *session) restore(ctx context.Context, unknown []int64) error {
	s.comparing = true
	defer func() { s.comparing = false }()
	var ended []span
	for ids := range slices.Chunk(unknown, leasesAtOnce) {
		some, err := s.leases.find(ctx, ids, s.Prefix)
		if err == nil {
			err = s.tend(ctx)
		}
		if err != nil {
			return err
		}
		ended = append(ended, some...)
	}
	return s.bringBack(ctx, ended)
}

// bringBack brings what was under leases that have ended in the etcd and not in the fleet, those that are known to have
// among them, as it was at the place; what was changed since comes behind it. The place says so from before they are
// granted until all of it is there.
func (s *session) bringBack(ctx context.Context, ended []span) error {
	s.comparing = true
	defer func() { s.comparing = false }()
	ended = append(ended, s.leases.lost()...)
	if len(ended) == 0 {
		return nil
	}
	s.pack.take() // it comes once more
	s.packed = s.revision
	next := s.at.place
	next.Revision, next.Comparing = s.revision, true
	if err := s.write(ctx, nil, &next); err != nil {
		return err
	}
	s.back, s.rounds = nil, 0
	for some := range slices.Chunk(ended, leasesAtOnce) {
		if err := s.regrant(ctx, some); err != nil {
			return err
		}
		if err := s.tend(ctx); err != nil {
			return err
		}
	}
	return s.settle(ctx)
}

// settle has the place say that nothing is missing, when that is so: what is under leases that were granted anew is
// there.
func (s *session) settle(ctx context.Context) error {
	for {
		if err := s.bringPacked(ctx); err != nil {
			return err
		}
		ids := s.back
		if len(ids) == 0 {
			break
		}
		s.back = nil
		s.rounds++
		for _, id := range ids {
			if err := s.restoreLease(ctx, id); err != nil {
				return err
			}
		}
	}
	next := s.at.place
	next.Comparing = false
	return s.flushTo(ctx, next)
}

// restoreLease brings what was under a lease at the place, and is.
func (s *session) restoreLease(ctx context.Context, id int64) error {
	keys, _, err := s.leases.keysOf(ctx, id, s.Prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.restoreKey(ctx, id, key); err != nil {
			return err
		}
		if err := s.tend(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) restoreKey(ctx context.Context, id int64, key []byte) error {
	there, mirrored := s.keyThere(key)
	if !mirrored {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	r, err := pb.NewKVClient(s.fleet.Conn).Range(within,
		&pb.RangeRequest{Key: key, Revision: s.at.Revision}, sides.Large)
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return sides.ErrCompacted
	case err != nil:
		return fmt.Errorf("key %q of the fleet: %w", key, err)
	case len(r.Kvs) == 0 || r.Kvs[0].Lease != id:
		return nil
	}
	return s.bring(ctx, putOf(&pb.PutRequest{Key: there, Value: r.Kvs[0].Value, Lease: s.leases.there(id)}))
}
