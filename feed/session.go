package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// session is a follower with a connection.
type session struct {
	*follower
	side     sides.Side
	compared bool // what was given out, with what the fleet has
}

// header returns where the fleet is by this endpoint, if that is as far as the feed has come.
func (s *session) header(ctx context.Context) (*pb.ResponseHeader, error) {
	h, err := s.side.Header(ctx)
	if err != nil {
		return nil, err
	}
	if s.knows && h.Revision < s.at.Revision {
		if s.rewound(h, s.at.Member) {
			return nil, s.forked()
		}
		return nil, fmt.Errorf("%w: member %x is at revision %d, and the feed at %d: it may be of a region that is "+
			"cut off, and the next one is tried; if the fleet was restored with an older revision, or two regions "+
			"were forced in one epoch, begin with a copy and without a token", errBehind, h.MemberId, h.Revision,
			s.at.Revision)
	}
	return h, nil
}

// begin finds out where the feed begins, and whether this endpoint can be believed.
func (s *session) begin(ctx context.Context) error {
	h, err := s.header(ctx)
	if err != nil {
		return err
	}
	if s.at.Cluster != 0 && s.at.Cluster != h.ClusterId {
		return fmt.Errorf("%w: of fleet %x, and this is %x: go on at nodes of that one, or, if this one was "+
			"restored of it, begin with a copy and without a token", ErrForeign, s.at.Cluster, h.ClusterId)
	}
	s.at.Cluster = h.ClusterId
	if s.copying != nil || s.began {
		return nil
	}
	if !s.knows {
		s.at.Revision, s.at.Member, s.knows = h.Revision, h.MemberId, true
	}
	s.began = true
	return s.give(&Item{Kind: Began, Cluster: s.at.Cluster, Revision: s.at.Revision, Token: s.at.token()})
}

// watch gives what is changed until something fails. It begins at the revision up to which all was given out, where
// that can be: of a watch that begins later nothing is said as long as nothing is written.
func (s *session) watch(ctx context.Context) error {
	from := max(s.at.Revision, 1)
	if s.leads {
		from = s.at.Revision + 1
	}
	ctx, cancel := context.WithCancel(ctx)
	w, err := sides.OpenWatchOf(ctx, s.side.Conn, sides.Wanted{Key: s.Key, End: s.End, From: from,
		Previous: s.Previous})
	if err != nil {
		cancel()
		return err
	}
	ahead := sides.NewFeed(ctx, w)
	defer func() {
		cancel()
		ahead.Drain()
	}()
	ticker := time.NewTicker(min(s.Heartbeat, mostPoll))
	defer ticker.Stop()
	look := newLook(ctx, s.side)
	defer look.end(cancel)
	p := pulse{every: s.Heartbeat, silent: time.Now()}
	if err := w.Ask(); err != nil {
		return fmt.Errorf("ask how far the endpoint is: %w", err)
	}
	for {
		select {
		case r, more := <-ahead.Revisions():
			if !more {
				return ahead.Err()
			}
			err = s.take(ctx, r, &p)
			ahead.Done(r)
			p.lately(time.Now())
		case err = <-look.answers:
			look.asked = false
		case now := <-ticker.C:
			look.begin()
			if err = p.hear(w.Heard(), now, s.patience); err != nil {
				s.patience *= 2 // it may have a lot to read in which there is nothing for this feed
			} else if err = w.Ask(); err != nil {
				err = fmt.Errorf("ask how far the endpoint is: %w", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// take gives a revision, or how far it is by the endpoint, where that is due.
func (s *session) take(ctx context.Context, r *sides.Revision, p *pulse) error {
	if r.Number < s.at.Revision || r.Number == s.at.Revision && len(r.Events) > 0 {
		return nil // it was given out
	}
	s.at.Member = r.Member
	if err := s.cross(ctx, r.Number); err != nil {
		return err
	}
	s.reach(r.Number)
	if len(r.Events) == 0 {
		if !p.due(time.Now()) {
			return nil
		}
		return s.give(&Item{Kind: Resolved, Revision: r.Number, Token: s.at.token()})
	}
	s.at.Given, s.at.Print = r.Number, sides.PrintOf(r.Events)
	return s.give(&Item{Kind: Changed, Revision: r.Number, Events: r.Events, Token: s.at.token()})
}

// reach notes that everything up to a revision was given out.
func (s *session) reach(revision int64) {
	if revision > s.at.Revision {
		s.at.Revision, s.leads = revision, false
	}
}

// pulse says whether an endpoint still says anything, and when it is time to pass on how far it is. It is pure.
type pulse struct {
	every  time.Duration
	heard  int64     // messages
	silent time.Time // since when nothing was heard, while something was asked and there was room for it
	said   time.Time // Resolved
}

// errSilent says that an endpoint does not say how far it is.
var errSilent = errors.New("the endpoint does not say how far it is: the next one is tried")

// hear takes note of how many messages have come. errSilent: there was none for longer than there is patience.
func (p *pulse) hear(heard int64, now time.Time, patience time.Duration) error {
	if heard != p.heard {
		p.heard, p.silent = heard, now
	}
	if silence := now.Sub(p.silent); silence > patience {
		return fmt.Errorf("%w, after %v", errSilent, silence.Round(time.Second))
	}
	return nil
}

// lately says that up to now it was the consumer who took his time.
func (p *pulse) lately(now time.Time) { p.silent = now }

// due reports whether Resolved is, and that it is said then.
func (p *pulse) due(now time.Time) bool {
	if now.Sub(p.said) < p.every-p.every/4 {
		return false
	}
	p.said = now
	return true
}

// look asks an endpoint, beside the watch, for what the fleet has: one that is cut off from it does not answer, though
// it goes on to say how far it is itself.
type look struct {
	ctx     context.Context
	side    sides.Side
	asked   bool
	answers chan error
}

func newLook(ctx context.Context, side sides.Side) *look {
	return &look{ctx: ctx, side: side, answers: make(chan error, 1)}
}

// begin asks, unless the last answer has not come.
func (l *look) begin() {
	if l.asked {
		return
	}
	l.asked = true
	go func() {
		_, err := l.side.Header(l.ctx)
		l.answers <- err
	}()
}

// end waits for what is under way, which it has ended.
func (l *look) end(cancel func()) {
	cancel()
	if l.asked {
		<-l.answers
	}
}
