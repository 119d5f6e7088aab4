package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/timeline"
)

func (v verdict) String() string {
	switch v {
	case verdictAccept:
		return "accept"
	case verdictFork:
		return "fork"
	case verdictBootstrap:
		return "bootstrap"
	case verdictBehind:
		return "behind"
	case verdictRefuse:
		return "refuse"
	case verdictChain:
		return "chain mismatch"
	default:
		return fmt.Sprintf("verdict %d", byte(v))
	}
}

// sender reads the log and sends. It is used by one goroutine.
type sender struct {
	session *session
	config  *SourceConfig
	reader  *reader
	packer  packer
}

func newSender(x *session) *sender {
	return &sender{session: x, config: &x.source.config, packer: packer{encoder: x.source.encoder}}
}

// judge compares the subscriber's history with this node's and, if the former is a prefix, reads what comes first: that
// what is held there leads to what is applied here, the chain says.
func (s *sender) judge(view View, sub *subscribe) (*answer, chunk) {
	a := &answer{at: view.Cursor}
	if view.Serving != nil {
		a.verdict, a.text = verdictRefuse, view.Serving.Error()
		return a, chunk{}
	}
	if s.config.Bars != nil {
		if err := s.config.Bars(sub.region); err != nil {
			a.verdict, a.text = verdictRefuse, err.Error()
			return a, chunk{}
		}
	}
	if err := s.session.strange(); err != nil {
		a.verdict, a.text = verdictRefuse, err.Error()
		return a, chunk{}
	}
	relation, shared := timeline.Compare(sub.reigns, view.Reigns, sub.at.Position, view.Cursor.Position)
	switch relation {
	case timeline.Forked:
		a.verdict, a.position, a.reigns = verdictFork, shared, view.Reigns
		return a, chunk{}
	case timeline.Extends:
		a.verdict = verdictBehind
		return a, chunk{}
	}
	first, err := s.first(view, sub.at)
	if a.verdict = verdictAccept; err != nil {
		s.cannot(view, sub, a, err)
	}
	return a, first
}

// cannot answers a subscriber whose history goes together with this one as far as reigns tell, and that cannot be
// continued from the log.
func (s *sender) cannot(view View, sub *subscribe, a *answer, err error) {
	held, parted := timeline.Latest(sub.reigns), s.parted(view, sub)
	switch {
	case parted != nil && timeline.Supersedes(timeline.Latest(view.Reigns), held):
		// A later reign continues the history here, so that it is the subscriber who gives way.
		a.verdict, a.position, a.reigns = verdictFork, held.First-1, view.Reigns
		err = parted
	case parted != nil || errors.Is(err, ErrChain):
		err = errors.Join(parted, err)
		a.verdict, a.text = verdictChain, err.Error()
		if s.config.OnParted != nil {
			s.config.OnParted(s.session.region, sub.at)
		}
	case lacksLog(err):
		a.verdict, a.position = verdictBootstrap, oldestServed(s.config.Log, s.reader, view, sub.at.Position)
		return
	case errors.Is(err, errUnreadable) && s.config.History.View().Serving == nil: // otherwise the node stops
		a.verdict, a.text = verdictBootstrap, err.Error()
		a.position = oldestServed(s.config.Log, nil, view, sub.at.Position)
		s.session.log.Error("this node's log is damaged where another region has to go on; it is sent elsewhere or "+
			"to a copy. Replace this node: remove the member, and add a new one with an empty data directory",
			"held", sub.at.Position, "epoch", sub.at.Epoch, "err", err)
		return
	default:
		a.verdict, a.text = verdictRefuse, err.Error()
	}
	s.session.log.Error("cannot continue a subscriber's history", "held", sub.at.Position, "epoch", sub.at.Epoch,
		"err", err)
}

// parted returns why the subscriber's history is not a part of this one although its reigns are: the chains differ
// where it ends, so that there are two histories of its last reign. It is nil as well if the log does not tell.
func (s *sender) parted(view View, sub *subscribe) error {
	here, err := s.session.source.chain(view, timeline.Latest(sub.reigns), sub.at.Position)
	if err != nil || here == sub.at.Chain {
		return nil
	}
	return fmt.Errorf("%w: behind position %d of epoch %d the chain is %v here and %v there", ErrChain, sub.at.Position,
		sub.at.Epoch, here, sub.at.Chain)
}

func (s *sender) first(view View, at timeline.Cursor) (chunk, error) {
	r, err := newReader(s.config.Log, view, at)
	if err != nil {
		return chunk{}, err
	}
	s.reader = r
	s.session.begin(view)
	return r.read(view, s.batchBytes())
}

// run sends the answer, the first chunk, and then everything as it is applied here. It ends with an error only.
func (s *sender) run(ctx context.Context, a *answer, view View, c chunk) error {
	if err := s.session.stream.Send(encodeAnswer(a)); err != nil {
		return err
	}
	for {
		if err := s.send(ctx, view, c); err != nil {
			return err
		}
		if c.end {
			if err := s.await(ctx, view.Index); err != nil {
				return err
			}
		}
		asked := s.config.Clock.Now()
		view = s.config.History.View()
		s.session.observe(asked, view)
		if view.Serving != nil {
			return fmt.Errorf("%w: %w", ErrRefused, view.Serving)
		}
		var err error
		if c, err = s.reader.read(view, s.batchBytes()); err != nil {
			return err
		}
	}
}

// batchBytes is where the next batch is closed. To a region that is held to a cap no more than what that allows in a
// second goes at once: a pong behind it must not be late because the batch is large for the link.
func (s *sender) batchBytes() int {
	if rate := s.config.Throttle.Rate(s.session.region); rate > 0 {
		return int(min(rate, int64(s.config.BatchBytes)))
	}
	return s.config.BatchBytes
}

// hold returns once the cap of the region lets the next batch go, and answers pings meanwhile. It stands before the
// window: what waits here was not sent, for the lag that is told as for the subscriber.
func (s *sender) hold(ctx context.Context) error {
	return s.config.Throttle.Hold(ctx, s.session.region, s.session.wake, func() error {
		view := s.config.History.View()
		if view.Serving != nil {
			return fmt.Errorf("%w: %w", ErrRefused, view.Serving)
		}
		return s.sendPongs(view)
	})
}

// send sends c once the window has room for it, and answers pings meanwhile.
func (s *sender) send(ctx context.Context, view View, c chunk) error {
	x, cost := s.session, bodyBytes(c.payloads)
	if len(c.payloads) > 0 {
		if err := s.hold(ctx); err != nil {
			return err
		}
	}
	for !x.admit(view, c, cost, s.reader.needs()) {
		select {
		case <-x.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.sendPongs(s.config.History.View()); err != nil {
			return err
		}
	}
	if len(c.payloads) > 0 {
		m := s.packer.pack(c.payloads, view.Cursor.Position)
		s.config.Throttle.Sent(x.region, len(m))
		if err := x.stream.Send(m); err != nil {
			return err
		}
	}
	return s.sendPongs(view)
}

// await returns once more than index is applied, and answers pings meanwhile.
func (s *sender) await(ctx context.Context, index uint64) error {
	for {
		changed := s.config.History.Changed()
		now := s.config.History.View()
		if err := s.sendPongs(now); err != nil {
			return err
		}
		if now.Index != index || now.Serving != nil {
			return nil
		}
		select {
		case <-changed:
		case <-s.session.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendPongs answers the pings that can be answered: a known position only once it is applied here, so that the bytes
// that go with it are counted.
func (s *sender) sendPongs(view View) error {
	for _, p := range s.session.answers(view) {
		if err := s.session.stream.Send(encodePong(p)); err != nil {
			return err
		}
	}
	return nil
}
