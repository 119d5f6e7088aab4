package feed

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/backup/sides"
)

// copying is a copy that is made, as far as it is; it goes on by another connection.
type copying struct {
	revision int64  // 0: it has not begun
	member   uint64 // who has had that
	next     []byte
	count    int64
}

// copy gives all keys at one revision. Where that cannot be read to the end it begins anew.
func (s *session) copy(ctx context.Context) error {
	c := s.copying
	h, err := s.header(ctx)
	switch {
	case err != nil:
		return err
	case h.Revision < c.revision && s.rewound(h, c.member):
		s.copying = &copying{}
		return fmt.Errorf("the copy begins anew: the fleet has another history than that of revision %d", c.revision)
	case h.Revision < c.revision:
		return fmt.Errorf("%w: it is at revision %d, and the copy of %d", errBehind, h.Revision, c.revision)
	}
	if c.revision == 0 {
		c.revision, c.member, c.next = h.Revision, h.MemberId, s.Key
		s.began = true
		err := s.give(&Item{Kind: Copying, Cluster: s.at.Cluster, Revision: c.revision})
		if err != nil {
			return err
		}
	}
	pages := sides.Pages{Side: s.side, Key: c.next, End: s.End, Revision: c.revision}
	for {
		kvs, err := pages.Next(ctx)
		switch {
		case errors.Is(err, sides.ErrCompacted):
			s.copying = &copying{}
			return fmt.Errorf("the copy begins anew: it takes longer than the fleet keeps its history, or a failover "+
				"has cut it off: %w", err)
		case err != nil:
			return err
		case len(kvs) == 0:
			return s.copied(c)
		}
		c.next, c.count = pages.Key, c.count+int64(len(kvs))
		if err := s.give(&Item{Kind: Keys, Revision: c.revision, Keys: kvs}); err != nil {
			return err
		}
	}
}

func (s *session) copied(c *copying) error {
	s.copying, s.knows, s.leads = nil, true, false
	s.at.Revision, s.at.Given, s.at.Print, s.at.Member = c.revision, c.revision, 0, c.member
	return s.give(&Item{Kind: Copied, Revision: c.revision, Count: c.count, Token: s.at.token()})
}

// orCopy returns err, unless a copy is to take its place.
func (s *session) orCopy(err error) error {
	if !s.Copy {
		return err
	}
	s.copying = &copying{}
	return nil
}
