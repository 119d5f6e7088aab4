package mirror

import (
	"bytes"
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

const (
	// firstKeys is how many keys the first page has, mostKeys any, and pageBytes about how much one holds.
	firstKeys, mostKeys, pageBytes = 64, 4096, 4 << 20
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
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	r, err := pb.NewKVClient(p.side.Conn).Range(ctx, &pb.RangeRequest{
		Key: p.key, RangeEnd: p.end, Limit: p.limit, Revision: p.revision}, sides.Large)
	if err != nil {
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

// compare brings the etcd in line with the fleet's revision at. Until it has, its place is where it was.
func (s *session) compare(ctx context.Context, at int64) error {
	from, to := newPages(s.fleet, s.Prefix, at), newPages(s.etcd, s.ToPrefix, 0)
	reported := time.Now()
	s.comparing = true
	defer func() { s.comparing = false }()
	for s.compared = 0; ; s.compared++ {
		more, err := s.compareKey(ctx, from, to)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if time.Since(reported) >= s.Poll {
			if err := s.leases.look(ctx, 0); err != nil {
				return err
			}
			s.report(at)
			reported = time.Now()
		}
	}
	n := int64(len(s.pack.ops))
	next := s.at.place
	next.Revision = at
	if err := s.write(ctx, s.pack.take(), &next); err != nil {
		return err
	}
	s.revision, s.packed, s.changed = at, at, s.changed+n
	return nil
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
		key = s.keyThere(here.Key)
	}
	switch {
	case there != nil && bytes.Equal(there.Key, s.at.key):
		to.next()
		return true, nil
	case here != nil && bytes.Equal(key, s.at.key):
		from.next()
		return true, nil
	case here == nil, there != nil && bytes.Compare(there.Key, key) < 0:
		to.next()
		return true, s.bring(ctx, deleteOf(there.Key))
	}
	from.next()
	lease, err := s.leases.need(ctx, here.Lease)
	if err != nil {
		return false, err
	}
	if there != nil && bytes.Equal(there.Key, key) {
		to.next()
		if there.Lease == lease && bytes.Equal(there.Value, here.Value) {
			return true, nil
		}
	}
	return true, s.bring(ctx, putOf(&pb.PutRequest{Key: key, Value: here.Value, Lease: lease}))
}

// bring packs a change that a comparison has found, and writes what is full. The place stays.
func (s *session) bring(ctx context.Context, c change) error {
	one := []change{c}
	if !s.pack.fits(one) {
		n := int64(len(s.pack.ops))
		if err := s.write(ctx, s.pack.take(), nil); err != nil {
			return err
		}
		s.changed += n
	}
	s.pack.add(one)
	return nil
}
