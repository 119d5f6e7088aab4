package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

const (
	// firstKeys is how many keys the first page has, mostKeys any, and pageBytes about how much one is to hold.
	firstKeys, mostKeys, pageBytes = 64, 4096, 4 << 20
	// mostPageBytes is what a page of more than one key may take: a larger one is asked for again with fewer keys.
	mostPageBytes = 4 * pageBytes
	// pageTime bounds a page: an etcd counts all keys for each.
	pageTime = 2 * time.Minute
)

// pages reads the keys of one side, in their order.
type pages struct {
	side     sides.Side
	key, end []byte
	revision int64 // 0: as they are
	limit    int64
	kvs      []*mvccpb.KeyValue
	last     bool
}

func newPages(side sides.Side, prefix string, revision int64) *pages {
	p := &pages{side: side, revision: revision, limit: firstKeys}
	p.key, p.end = rangeOf(prefix)
	return p
}

// first returns the next key, nil behind the last one. Whoever has done with it calls next.
func (p *pages) first(ctx context.Context) (*mvccpb.KeyValue, error) {
	for len(p.kvs) == 0 && !p.last {
		if err := p.read(ctx); err != nil {
			return nil, err
		}
	}
	if len(p.kvs) == 0 {
		return nil, nil
	}
	return p.kvs[0], nil
}

func (p *pages) next() { p.kvs = p.kvs[1:] }

func (p *pages) read(ctx context.Context) error {
	r, err := p.ask(ctx)
	for status.Code(err) == codes.ResourceExhausted && p.limit > 1 { // it was too large for mostPageBytes
		p.limit = max(1, p.limit/4)
		r, err = p.ask(ctx)
	}
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted):
		return fmt.Errorf("%s: keys as of revision %d: %w", tooLong(p.side), p.revision, err)
	case err != nil:
		return fmt.Errorf("keys of %s: %w", p.side.Name, err)
	}
	size := int64(1)
	for _, kv := range r.Kvs {
		size += int64(len(kv.Key) + len(kv.Value))
	}
	p.limit = max(1, min(2*p.limit, mostKeys, pageBytes*p.limit/size))
	if p.kvs = r.Kvs; len(p.kvs) > 0 {
		p.key = append(bytes.Clone(p.kvs[len(p.kvs)-1].Key), 0)
	}
	p.last = !r.More || len(r.Kvs) == 0
	return nil
}

// tooLong says why a comparison can be of something that is not there any more.
func tooLong(side sides.Side) string {
	return fmt.Sprintf("to compare takes longer than %s keeps its history, or a failover has lost a part of that: "+
		"have it keep more, or let nobody compact it, until both are compared", side.Name)
}

func (p *pages) ask(ctx context.Context) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	size := grpc.MaxCallRecvMsgSize(mostPageBytes)
	if p.limit == 1 {
		size = sides.Large
	}
	return pb.NewKVClient(p.side.Conn).Range(ctx, &pb.RangeRequest{
		Key: p.key, RangeEnd: p.end, Limit: p.limit, Revision: p.revision}, size)
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
