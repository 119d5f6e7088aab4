package feed

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/backup/sides"
)

// leastJump is how far a failover that may have lost something moves the revision at least, less what may have been
// written while nothing was heard. A jump that is smaller is not looked at.
const leastJump = 500_000_000

// errUnsure says that what an endpoint answers does not fit together.
var errUnsure = errors.New("the endpoint contradicts itself: the next one is tried")

// gap is what lies strictly between two revisions, both of which can be read.
type gap struct{ after, next int64 }

// parted finds out why the history does not lead on from where the feed is: what comes next is compacted, or a failover
// has cut off the revision that it had come to. It returns nil if it goes on.
func (s *session) parted(ctx context.Context) error {
	if _, err := s.header(ctx); err != nil {
		return err
	}
	at := max(s.at.Revision, 1)
	if there, err := s.readable(ctx, at); err != nil || there {
		return errors.Join(err, errUnsure)
	}
	first, err := s.first(ctx)
	if err != nil {
		return err
	}
	switch {
	case first == at+1 && s.leads:
		return errUnsure
	case first == at+1: // nothing behind it is missing
		s.at.Revision, s.leads = at, true
		return nil
	case first > at:
		return s.orCopy(s.compacted(first))
	}
	g, err := s.gapAt(ctx, first, at)
	if err != nil {
		return err
	}
	s.at.Member = 0 // it has not told what it has behind the gap
	return s.void(g)
}

func (s *session) compacted(readable int64) error {
	return &CompactedError{Revision: s.at.Revision, Readable: readable}
}

// void says what of the history is cut off, and goes on behind that if nothing there was given out.
func (s *session) void(g gap) error {
	given := s.at.Given > g.after
	at := s.at
	at.Revision = g.next
	if given {
		at.Given, at.Print = g.after, 0
	}
	it := &Item{Kind: Void, After: g.after, Revision: g.next, Given: given, Token: at.token()}
	if given && s.Copy {
		it.Token = "" // before the copy is there it is of no use
	}
	if !given {
		s.at, s.leads = at, false
	}
	if err := s.give(it); err != nil || !given {
		return err
	}
	return s.orCopy(&VoidError{After: g.after, Next: g.next})
}

// cross tells of the gaps up to a revision that comes next: what this feed has given out is before them. Each is larger
// than leastJump, so that halving finds it.
func (s *session) cross(ctx context.Context, to int64) error {
	at := max(s.at.Revision, 1)
	if to-at < leastJump {
		return nil
	}
	middle := at + (to-at)/2
	there, err := s.readable(ctx, middle)
	if err != nil {
		return err
	}
	if there {
		return s.crossBoth(ctx, middle, to)
	}
	if there, err = s.readable(ctx, at); err != nil {
		return err
	}
	if !there {
		return s.crossUnseen(ctx, at, to)
	}
	g, err := s.gapAt(ctx, at, middle)
	if err != nil {
		return err
	}
	if g.next > to {
		return errUnsure
	}
	if err := s.cross(ctx, g.after); err != nil {
		return err
	}
	s.reach(g.after)
	if err := s.void(g); err != nil {
		return err
	}
	return s.cross(ctx, to)
}

// crossBoth is cross up to one revision, which can be read, and from there up to another.
func (s *session) crossBoth(ctx context.Context, middle, to int64) error {
	if err := s.cross(ctx, middle); err != nil {
		return err
	}
	s.reach(middle)
	return s.cross(ctx, to)
}

// crossUnseen is cross where the revision to which the feed has come was compacted, perhaps only while what comes next
// was read ahead: a gap behind it is not to be seen any more. The history has nothing of these keys up to the next
// revision, so that whatever was given out between, before this feed began, is void.
func (s *session) crossUnseen(ctx context.Context, at, to int64) error {
	first, err := s.first(ctx)
	switch {
	case err != nil:
		return err
	case first <= at:
		return errUnsure
	}
	first = min(first, to-1)
	if first-at < leastJump { // there is no gap before that
		s.reach(first)
	} else if err := s.void(gap{after: at, next: first}); err != nil {
		return err
	}
	return s.cross(ctx, to)
}

// gapAt returns the gap in which a revision is that cannot be read, above one that can.
func (s *session) gapAt(ctx context.Context, low, in int64) (gap, error) {
	high := in
	for step := int64(1); high-step > low; step *= 2 { // most tails are short
		there, err := s.readable(ctx, high-step)
		if err != nil {
			return gap{}, err
		}
		if there {
			low = high - step
			break
		}
		high -= step
	}
	for {
		for high-low > 1 {
			middle := low + (high-low)/2
			there, err := s.readable(ctx, middle)
			if err != nil {
				return gap{}, err
			}
			if there {
				low = middle
			} else {
				high = middle
			}
		}
		next, err := s.resumes(ctx, high)
		switch {
		case err != nil:
			return gap{}, err
		case next > in:
			return s.sure(ctx, gap{after: low, next: next})
		case next <= low:
			return gap{}, errUnsure
		}
		low, high = next, in // it was an earlier one
	}
}

// sure returns a gap that was found, if what is before it can be read yet. If not, revisions that were asked about may
// have been compacted meanwhile, and be in no gap.
func (s *session) sure(ctx context.Context, g gap) (gap, error) {
	there, err := s.readable(ctx, g.after)
	if err == nil && !there {
		err = errUnsure
	}
	return g, err
}

// readable reports whether a revision is of the history: not compacted, and in no gap.
func (s *session) readable(ctx context.Context, revision int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	_, err := pb.NewKVClient(s.side.Conn).Range(ctx, &pb.RangeRequest{Key: s.Key, CountOnly: true, Revision: revision})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return false, nil
	}
	return false, fmt.Errorf("revision %d of the fleet: %w", revision, err)
}

// first returns the first revision that can be read.
func (s *session) first(ctx context.Context) (int64, error) {
	if there, err := s.readable(ctx, 1); err != nil || there {
		return 1, err
	}
	return s.resumes(ctx, 1)
}

// resumes returns the revision from which there is something behind one that cannot be read.
func (s *session) resumes(ctx context.Context, revision int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, sides.AnswerTime)
	defer cancel()
	w, err := sides.OpenWatchOf(ctx, s.side.Conn, sides.Wanted{Key: s.Key, End: s.End, From: revision})
	if err == nil {
		_, err = w.Next()
	}
	var compacted *sides.CompactedError
	switch {
	case errors.As(err, &compacted):
		return compacted.Revision, nil
	case err == nil:
		err = errUnsure
	}
	return 0, fmt.Errorf("revision %d of the fleet: %w", revision, err)
}
