package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// pages reads the keys of one side, in their order.
type pages struct {
	sides.Pages
	kvs  []*mvccpb.KeyValue
	last bool
}

func newPages(side sides.Side, prefix string, revision int64) *pages {
	key, end := sides.RangeOf(prefix)
	return &pages{Pages: sides.Pages{Side: side, Key: key, End: end, Revision: revision}}
}

// first returns the next key, nil behind the last one. Whoever has done with it calls next.
func (p *pages) first(ctx context.Context) (*mvccpb.KeyValue, error) {
	if len(p.kvs) == 0 && !p.last {
		var err error
		if p.kvs, err = p.Next(ctx); errors.Is(err, sides.ErrCompacted) {
			return nil, fmt.Errorf("%s: %w", tooLong(p.Side), err)
		}
		if err != nil {
			return nil, err
		}
		p.last = len(p.kvs) == 0
	}
	if len(p.kvs) == 0 {
		return nil, nil
	}
	return p.kvs[0], nil
}

func (p *pages) next() { p.kvs = p.kvs[1:] }

// tooLong says why a comparison can be of something that is not there any more.
func tooLong(side sides.Side) string {
	return fmt.Sprintf("to compare takes longer than %s keeps its history, or a failover has lost a part of that: "+
		"have it keep more, or let nobody compact it, until both are compared", side.Name)
}

// compare brings the etcd in line with the fleet as it is. That it is on its way there stands in the place before
// anything is changed: if it is broken off it is done over, by whoever comes next, and at no earlier revision.
func (s *session) compare(ctx context.Context) error {
	h, err := s.fleet.Header(ctx)
	if err != nil {
		return err
	}
	at, next := h.Revision, s.at.place
	s.pack.take()
	next.Revision, next.Comparing = at, true
	if err := s.write(ctx, nil, &next); err != nil {
		return err
	}
	from, to := newPages(s.fleet, s.Prefix, at), newPages(s.etcd, s.ToPrefix, 0)
	s.comparing, s.fresh, s.back, s.rounds = true, map[int64]bool{}, nil, 0
	defer func() { s.comparing = false }()
	for s.compared = 0; ; s.compared++ {
		more, err := s.compareKey(ctx, from, to)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := s.tend(ctx); err != nil {
			return err
		}
	}
	err = s.settle(ctx)
	if errors.Is(err, sides.ErrCompacted) {
		return fmt.Errorf("%s: keys under leases that ended meanwhile: %w", tooLong(s.fleet), err)
	}
	return err
}

// compareKey compares the next key of both; false if there is none.
func (s *session) compareKey(ctx context.Context, from, to *pages) (more bool, err error) {
	here, err := from.first(ctx)
	if err != nil {
		return false, err
	}
	there, err := to.first(ctx)
	if err != nil || here == nil && there == nil {
		return false, err
	}
	var key []byte
	if here != nil {
		var mirrored bool
		if key, mirrored = s.keyThere(here.Key); !mirrored {
			from.next()
			return true, nil
		}
	}
	switch {
	case there != nil && isPlace(there.Key):
		to.next()
		return true, nil
	case here == nil, there != nil && bytes.Compare(there.Key, key) < 0:
		to.next()
		return true, s.bring(ctx, deleteOf(there.Key))
	}
	from.next()
	lease, fresh, err := s.leases.need(ctx, here.Lease)
	if err != nil {
		return false, err
	}
	if fresh { // what was under it when the page was read has ended with the one before
		s.fresh[lease] = true
	}
	if there != nil && bytes.Equal(there.Key, key) {
		to.next()
		if there.Lease == lease && bytes.Equal(there.Value, here.Value) && !s.fresh[lease] {
			return true, nil
		}
	}
	return true, s.bring(ctx, putOf(&pb.PutRequest{Key: key, Value: here.Value, Lease: lease}))
}

// bring packs a change beside the history, and writes what is full. The place stays.
func (s *session) bring(ctx context.Context, c change) error {
	one := []change{c}
	if !s.pack.fits(one) {
		if err := s.bringPacked(ctx); err != nil {
			return err
		}
	}
	s.pack.add(one)
	return nil
}

// bringPacked writes what is packed. The place stays.
func (s *session) bringPacked(ctx context.Context) error {
	n := int64(len(s.pack.ops))
	if n == 0 {
		return nil
	}
	if err := s.write(ctx, s.pack.take(), nil); err != nil {
		return err
	}
	s.changed += n
	return nil
}
