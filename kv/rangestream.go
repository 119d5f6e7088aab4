package kv

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

const (
	// streamChunkBytes is where a chunk of RangeStream is closed. A chunk is larger by at most one key-value.
	streamChunkBytes = 256 << 10
	// firstChunkKeys is how many key-values the first chunk has at most: something is there soon. Each later one may
	// have twice as many, up to mostChunkKeys.
	firstChunkKeys = 10
	mostChunkKeys  = 1 << 20
)

// RangeStream answers r like Range, in chunks of bounded size and all at one revision: each chunk holds the next
// key-values, and the last one, which may hold none, header, more and count. Requests that filter or sort are
// collected first; take is asked while they are, and its error ends the stream; it may be nil. An error of send does so
// too. The chunk belongs to send.
func (s *Store) RangeStream(
	ctx context.Context, r *pb.RangeRequest, take Take, send func(chunk *pb.RangeResponse) error,
) error {
	if err := command.CheckRange(r); err != nil {
		return err
	}
	return s.read(func(v view) error {
		v.take = take
		if hasFilters(r) || r.SortTarget != pb.RangeRequest_KEY || !inKeyOrder(r.SortTarget, r.SortOrder) {
			return v.sendCollected(ctx, r, send)
		}
		return v.sendScanned(ctx, r, send)
	})
}

// chunker gathers key-values and sends them in chunks.
type chunker struct {
	send  func(chunk *pb.RangeResponse) error
	kvs   []*mvccpb.KeyValue
	bytes int
	keys  int // that the chunk may have
}

// flush sends what was gathered, if that is enough.
func (c *chunker) flush(added int) error {
	c.keys = max(c.keys, firstChunkKeys)
	if c.bytes += added; c.bytes < streamChunkBytes && len(c.kvs) < c.keys {
		return nil
	}
	full := &pb.RangeResponse{Kvs: c.kvs}
	c.kvs, c.bytes, c.keys = nil, 0, min(2*c.keys, mostChunkKeys)
	return c.send(full)
}

func (c *chunker) finish(header *pb.ResponseHeader, more bool, count int64) error {
	return c.send(&pb.RangeResponse{Kvs: c.kvs, Header: header, More: more, Count: count})
}

func (v view) sendCollected(ctx context.Context, r *pb.RangeRequest, send func(chunk *pb.RangeResponse) error) error {
	resp, err := v.rangeKeys(ctx, r)
	if err != nil {
		return err
	}
	c := chunker{send: send}
	for _, kv := range resp.Kvs {
		c.kvs = append(c.kvs, kv)
		if err := c.flush(proto.Size(kv)); err != nil {
			return err
		}
	}
	return c.finish(resp.Header, resp.More, resp.Count)
}

func (v view) sendScanned(ctx context.Context, r *pb.RangeRequest, send func(chunk *pb.RangeResponse) error) error {
	rev, err := v.at(r)
	if err != nil {
		return err
	}
	c := chunker{send: send}
	var slab keyValueSlab
	var sent int64
	sp := command.SpanOf(r.Key, r.RangeEnd)
	count, err := v.fetch(ctx, sp, rev, fetchLimit(r), func(key []byte, ver *mvcc.Version) error {
		if sent++; r.Limit > 0 && sent > r.Limit {
			return nil
		}
		kv := slab.add(key, ver, r.KeysOnly)
		c.kvs = append(c.kvs, kv)
		return c.flush(len(kv.Key) + len(kv.Value))
	})
	if err != nil {
		return err
	}
	more := !r.CountOnly && r.Limit > 0 && count > r.Limit
	return c.finish(&pb.ResponseHeader{Revision: v.now}, more, count)
}
