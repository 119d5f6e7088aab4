package kv

import (
	"cmp"
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/keyset"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// reader reads versions: an [mvcc.Reader], or a run with what it has not yet committed. A value may alias memory of
// the reader until the next call.
type reader interface {
	Newest(key []byte, rev int64) (mvcc.Version, error)
	Scan(ctx context.Context, sp command.Span, rev, limit int64, visit mvcc.Visitor) (count int64, err error)
	Changed(from, rev, most int64, visit func(key []byte, at mvcc.Stamp)) (whole bool, err error)
}

// view is what a request sees: a reader, the newest revision it may see, and the state that says what can be read.
type view struct {
	reader
	now   int64
	state *mvcc.State
	keys  *keyset.Index // counts them; nil if a scan has to
	own   *keyset.Flips // that a run has not yet committed, which keys knows nothing of; nil if there is no run
	// changed says that a run has changes that are not committed.
	changed bool
	take    Take // of what a read answers
}

// Take is asked for each key-value by which an answer is about to grow, and may refuse it, or have it wait.
type Take func(bytes int64) error

// taking asks take, if there is one, for a key-value.
func (v view) taking(kv *mvccpb.KeyValue) error {
	if v.take == nil {
		return nil
	}
	return v.take(int64(len(kv.Key)+len(kv.Value)) + changeBytes)
}

// Range answers r from what this node has: at r.Revision, or at the current revision if that is not positive. Header,
// count and contents are of one moment. It has the meaning of etcd's Range, Count without regard to limit and filters
// included. Errors: ErrCompacted, ErrFutureRevision, those of CheckRange, the context's.
func (s *Store) Range(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	return s.RangeTaking(ctx, r, nil)
}

// RangeTaking is Range that asks take while the answer grows, and fails with its error. It may be nil.
func (s *Store) RangeTaking(ctx context.Context, r *pb.RangeRequest, take Take) (resp *pb.RangeResponse, err error) {
	if err := command.CheckRange(r); err != nil {
		return nil, err
	}
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer g.release()
	if command.SpanOf(r.Key, r.RangeEnd).Single() {
		return g.rangeOne(r)
	}
	err = g.read(func(v view) error {
		v.take = take
		resp, err = v.rangeKeys(ctx, r)
		return err
	})
	return resp, err
}

// rangeOne answers r, which names one key, from memory if the key was written or read a short time ago.
func (g *generation) rangeOne(r *pb.RangeRequest) (resp *pb.RangeResponse, err error) {
	now := g.now.Load()
	v := view{now: now.Revision, state: now.State}
	rev, err := v.at(r)
	if err != nil {
		return nil, err
	}
	h, moment, ok := g.heads.get(r.Key)
	if ok && h.Main <= rev && h.whole {
		return v.answerOne(r, &h.Version), nil
	}
	err = g.read(func(v view) error {
		if rev, err = v.at(r); err != nil {
			return err
		}
		ver, err := v.Newest(r.Key, rev)
		if err != nil {
			return err
		}
		if rev == v.now && ver.Exists() {
			g.heads.offer(r.Key, ver, moment)
		}
		resp = v.answerOne(r, &ver)
		return nil
	})
	return resp, err
}

// read calls f with a view of the current revision.
func (s *Store) read(f func(v view) error) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	return g.read(f)
}

func (g *generation) read(f func(v view) error) error {
	// What is read at a revision never changes until it is compacted away. So it is enough that the revision is
	// loaded before the iterator is made, and the compaction revision, which is published before anything is removed,
	// after.
	before := g.now.Load()
	reader, err := mvcc.NewReader(g.db)
	if err != nil {
		return err
	}
	v := view{reader: reader, now: before.Revision, state: g.now.Load().State, keys: g.keys}
	if g.keys != nil {
		reader.Skip = g.skip
	}
	return cmp.Or(f(v), reader.Close())
}

// at returns the revision at which r reads, if it can.
func (v view) at(r *pb.RangeRequest) (int64, error) {
	rev := r.Revision
	if rev <= 0 {
		rev = v.now
	}
	if rev > v.now {
		return 0, command.ErrFutureRevision
	}
	if v.state.CompactedAt(rev) != 0 {
		return 0, command.ErrCompacted
	}
	return rev, nil
}

func (v view) rangeKeys(ctx context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	rev, err := v.at(r)
	if err != nil {
		return nil, err
	}
	sp := command.SpanOf(r.Key, r.RangeEnd)
	if sp.Single() {
		ver, err := v.Newest(r.Key, rev)
		if err != nil {
			return nil, err
		}
		resp := v.answerOne(r, &ver)
		for _, kv := range resp.Kvs {
			err = v.taking(kv)
		}
		return resp, err
	}
	resp := &pb.RangeResponse{Header: &pb.ResponseHeader{Revision: v.now}}
	var slab keyValueSlab
	dropValues := r.KeysOnly && r.SortTarget != pb.RangeRequest_VALUE
	resp.Count, err = v.selected(ctx, r, sp, rev, func(key []byte, ver *mvcc.Version) error {
		kv := slab.add(key, ver, dropValues)
		resp.Kvs = append(resp.Kvs, kv)
		return v.taking(kv)
	})
	if err != nil {
		return nil, err
	}
	finishRange(r, resp)
	return resp, nil
}

// oneKey is the answer about one key, in one piece.
type oneKey struct {
	response pb.RangeResponse
	header   pb.ResponseHeader
	kv       mvccpb.KeyValue
	kvs      [1]*mvccpb.KeyValue
}

// answerOne answers r, which names one key, of which ver is the version that it asks for.
func (v view) answerOne(r *pb.RangeRequest, ver *mvcc.Version) *pb.RangeResponse {
	one := &oneKey{}
	resp := &one.response
	resp.Header = &one.header
	resp.Header.Revision = v.now
	if !ver.Exists() {
		return resp
	}
	resp.Count = 1
	if r.CountOnly {
		return resp
	}
	found := *ver
	if r.KeysOnly {
		found.Value = nil
	}
	found.Fill(&one.kv, r.Key)
	one.kvs[0] = &one.kv
	resp.Kvs = one.kvs[:]
	if hasFilters(r) {
		finishRange(r, resp)
	}
	return resp
}
