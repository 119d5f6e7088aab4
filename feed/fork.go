package feed

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// rewound reports whether who answers has had more once, by what was noted: what a node answers when it is asked for
// all that was acknowledged goes back in no history.
func (s *session) rewound(h *pb.ResponseHeader, member uint64) bool {
	return member != 0 && h.MemberId == member
}

func (s *session) forked() error { return &ForkedError{Revision: s.at.Revision} }

// orCopyOfFork returns err, unless a copy is to take the place of a ForkedError.
func (s *session) orCopyOfFork(err error) error {
	var forked *ForkedError
	if !errors.As(err, &forked) || !s.Copy {
		return err
	}
	s.knows, s.leads = false, false
	return s.orCopy(err)
}

// compare returns a ForkedError if the fleet has something else at the last revision at which something was given out.
// Where that is compacted, or cut off by a failover, there is nothing to compare: the latter the watch finds out.
func (s *session) compare(ctx context.Context) error {
	if s.compared || s.at.Print == 0 {
		return nil
	}
	err := s.compareNow(ctx)
	s.compared = err == nil
	return err
}

func (s *session) compareNow(ctx context.Context) error {
	// The revision itself may be the one up to which the fleet is compacted, where an etcd lacks deletions.
	if whole, err := s.readable(ctx, s.at.Given-1); err != nil || !whole {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	r, err := sides.FirstOf(ctx, s.side.Conn, sides.Wanted{Key: s.Key, End: s.End, From: s.at.Given})
	switch {
	case errors.Is(err, sides.ErrCompacted):
		return nil
	case sides.IsLate(err):
		s.patience *= 2 // it may have a lot to read in which there is nothing for this feed
		fallthrough
	case err != nil:
		return fmt.Errorf("compare revision %d with what was given out: %w", s.at.Given, err)
	}
	return s.at.like(r)
}

// like returns nil if what a fleet has first from Given on is what was given out there, and a ForkedError if not.
func (p place) like(r *sides.Revision) error {
	switch {
	case len(r.Events) == 0 && r.Number < p.Given: // another endpoint than the one that was asked before, it may be
		return fmt.Errorf("%w: it is at revision %d, and the feed at %d", errBehind, r.Number, p.Revision)
	case r.Number != p.Given || sides.PrintOf(r.Events) != p.Print:
		return &ForkedError{Revision: p.Revision}
	}
	return nil
}
