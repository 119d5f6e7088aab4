package replay

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// seeds is how many tails each test draws. Hundreds are the long form.
var seeds = flag.Uint64("seeds", 12, "tails that each random test draws")

// history is a real store, as one region has it.
type history struct {
	*kv.Store
	t         testing.TB
	metadata  replication.Metadata
	meanwhile proto.Message // done just before the next transaction
	writes    int           // transactions that may still be done, if it is to fail then; negative: all
}

func newHistory(t testing.TB) *history {
	t.Helper()
	s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv", CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.Load(); err != nil {
		t.Fatal(err)
	}
	return &history{Store: s, t: t, writes: -1}
}

func (h *history) apply(q proto.Message) []byte {
	h.t.Helper()
	h.metadata.Position++
	h.metadata.AppliedIndex++
	results, err := h.Apply(&replication.Batch{
		First: h.metadata.Position, Metadata: &h.metadata, WantResults: true,
		Commands: []replication.Command{{Data: encode(q)}},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return results[0]
}

// begin begins a reign that may have lost a tail, and returns what parts it from the one before.
func (h *history) begin(epoch replication.Epoch, place uint8) Fork {
	h.t.Helper()
	f := Fork{Revision: h.Revision(), Readable: max(1, h.CompactRevision())}
	h.metadata.Epoch = epoch
	h.metadata.AppliedIndex++
	r := replication.Reign{Epoch: epoch, Lossy: true, Place: place, Nonce: [16]byte{byte(epoch)}}
	if err := h.Begin(r, &h.metadata); err != nil {
		h.t.Fatal(err)
	}
	f.Base = h.Revision()
	return f
}

func encode(q proto.Message) []byte {
	switch q := q.(type) {
	case *pb.PutRequest:
		return command.EncodePut(q)
	case *pb.DeleteRangeRequest:
		return command.EncodeDeleteRange(q)
	case *pb.TxnRequest:
		return command.EncodeTxn(q)
	case *pb.LeaseGrantRequest:
		return command.EncodeLeaseGrant(q)
	case *pb.LeaseRevokeRequest:
		return command.EncodeLeaseRevoke(q)
	case *pb.CompactionRequest:
		return command.EncodeCompaction(q)
	}
	panic(fmt.Sprintf("%T", q))
}

// Keys implements Fleet.
func (h *history) Keys(ctx context.Context, names []string, at int64) (now, then []*mvccpb.KeyValue, err error) {
	one := func(name string, at int64) (kv *mvccpb.KeyValue) {
		r, e := h.Range(ctx, &pb.RangeRequest{Key: []byte(name), Revision: at})
		if err = errors.Join(err, e); e == nil && len(r.Kvs) > 0 {
			kv = r.Kvs[0]
		}
		return kv
	}
	for _, n := range names {
		now = append(now, one(n, 0))
		if at != 0 {
			then = append(then, one(n, at))
		}
	}
	return now, then, err
}

// Span implements Fleet.
func (h *history) Span(
	ctx context.Context, sp command.Span, at int64, visit func(*mvccpb.KeyValue),
) (int64, error) {
	q := &pb.RangeRequest{Key: sp.Start, RangeEnd: sp.End, Revision: at}
	if sp.End != nil && len(sp.End) == 0 {
		q.RangeEnd = []byte{0}
	}
	r, err := h.Range(ctx, q)
	if err != nil {
		return 0, err
	}
	for _, kv := range r.Kvs {
		visit(kv)
	}
	return r.Header.Revision, nil
}

var errCut = errors.New("the connection broke")

// Txn implements Fleet.
func (h *history) Txn(_ context.Context, q *pb.TxnRequest) (*pb.TxnResponse, error) {
	if h.writes == 0 {
		return nil, errCut
	}
	if h.writes--; h.meanwhile != nil {
		h.apply(h.meanwhile)
		h.meanwhile = nil
	}
	if err := command.CheckTxn(q, 128); err != nil {
		h.t.Fatalf("%v: %v", q, err)
	}
	return command.DecodeTxnResult(h.apply(q))
}

// Lease implements Fleet.
func (h *history) Lease(_ context.Context, id int64) (keys []string, err error) {
	_, attached, ok := h.Store.Lease(id)
	if !ok {
		return nil, ErrNoLease
	}
	for _, k := range attached {
		keys = append(keys, string(k))
	}
	return keys, nil
}

// Grant implements Fleet.
func (h *history) Grant(_ context.Context, id, ttl int64) error {
	_, err := command.DecodeLeaseGrantResult(h.apply(&pb.LeaseGrantRequest{ID: id, TTL: ttl}))
	return err
}

// Revoke implements Fleet.
func (h *history) Revoke(_ context.Context, id int64) error {
	_, err := command.DecodeLeaseRevokeResult(h.apply(&pb.LeaseRevokeRequest{ID: id}))
	return err
}

// contents are all keys with value and lease.
func (h *history) contents() map[string]string {
	r, err := h.Range(context.Background(), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		h.t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range r.Kvs {
		all[string(kv.Key)] = fmt.Sprintf("%q lease %d", kv.Value, kv.Lease)
	}
	return all
}

// tailOf is a tail of requests.
func tailOf(requests ...proto.Message) Tail {
	return func(ctx context.Context, visit func(*Command) error) error {
		for i, q := range requests {
			if err := visit(&Command{Position: uint64(i + 1), Op: "op", Request: q}); err != nil {
				return err
			}
		}
		return nil
	}
}

// split returns two stores that share a history, and where they part: the first is lost, the second today's.
func (g *generator) split(t testing.TB) (lost, today *history, f Fork) {
	lost, today = newHistory(t), newHistory(t)
	for range g.IntN(20) {
		q := g.request(lost)
		lost.apply(q)
		today.apply(q)
	}
	return lost, today, today.begin(2, 2)
}

// TestTheOverlayIsTheStore: whatever the tail, the overlay has what the store has that lost it. What it is not sure of
// lies between its bounds.
func TestTheOverlayIsTheStore(t *testing.T) {
	for seed := range *seeds {
		g := newGenerator(seed, 1)
		lost, today, fork := g.split(t)
		if g.IntN(3) == 0 { // today's history went on, and some of it cannot be read any more
			for range g.IntN(6) {
				if q := g.request(today); !grants(q) {
					today.apply(q)
				}
			}
			today.apply(&pb.CompactionRequest{Revision: today.Revision()})
			fork.Readable = today.Revision()
			if g.IntN(2) == 0 {
				fork.Revision = 0
			}
		}
		var requests []proto.Message
		for range 20 {
			requests = append(requests, g.request(lost))
			lost.apply(requests[len(requests)-1])
		}
		r := &run{Options: Options{Fork: fork}, overlay: newOverlay(today, fork)}
		keep := func(context.Context, *Command, *effect) error { return nil }
		for again := true; again; again = r.late {
			r.reset()
			if err := r.pass(t.Context(), 1, tailOf(requests...), keep); err != nil {
				t.Fatal(err)
			}
		}
		low, high := r.rev.now.bounds()
		if rev := lost.Revision(); rev < low || rev > high {
			t.Errorf("seed %d: revision %d, thought to be %d to %d", seed, rev, low, high)
		}
		for name, k := range r.keys {
			now, _, err := lost.Keys(t.Context(), []string{name}, 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := differs(k, now[0]); diff != "" {
				t.Errorf("seed %d: key %s: %s", seed, name, diff)
			}
		}
		if t.Failed() {
			t.Fatalf("fork %+v, requests %v", fork, requests)
		}
	}
}

// grants reports whether q is a grant: an identity of a lease is not used twice.
func grants(q proto.Message) bool {
	_, ok := q.(*pb.LeaseGrantRequest)
	return ok
}

func differs(k *key, kv *mvccpb.KeyValue) string {
	v := &k.lost
	switch {
	case !k.sure:
		return ""
	case v.exists != (kv != nil):
		return fmt.Sprintf("exists %t, store has %v", v.exists, kv)
	case kv == nil:
		return ""
	case string(v.value) != string(kv.Value) || v.lease != kv.Lease:
		return fmt.Sprintf("%q lease %d, store has %v", v.value, v.lease, kv)
	}
	if low, high := v.mod.bounds(); kv.ModRevision < low || kv.ModRevision > high {
		return fmt.Sprintf("modified at %d to %d, store has %v", low, high, kv)
	}
	if v.vague {
		return ""
	}
	if low, high := v.create.bounds(); kv.CreateRevision < low || kv.CreateRevision > high {
		return fmt.Sprintf("created at %d to %d, store has %v", low, high, kv)
	}
	if v.number != kv.Version {
		return fmt.Sprintf("version %d, store has %v", v.number, kv)
	}
	return ""
}

func replayed(t testing.TB, today *history, o Options, tail Tail) (*Summary, []*Entry, error) {
	t.Helper()
	var entries []*Entry
	o.MaxOps = cmp.Or(o.MaxOps, 128)
	o.Report = func(e *Entry) error {
		entries = append(entries, e)
		return nil
	}
	s, err := Run(t.Context(), tail, today, o)
	return s, entries, err
}

// doubtful reports whether it is not known of some command what it did.
func doubtful(entries []*Entry) bool {
	return slices.ContainsFunc(entries, func(e *Entry) bool {
		return e.Verdict == Conflict && e.Differences == nil ||
			strings.Contains(e.Reason, "cannot be known")
	})
}

// TestATailReplayedWhereNothingHappened makes today's history what the lost one was, also if it is cut short and run
// again; and a further run has nothing to do.
func TestATailReplayedWhereNothingHappened(t *testing.T) {
	for seed := range *seeds {
		g := newGenerator(seed, 2)
		lost, today, fork := g.split(t)
		var requests []proto.Message
		for range 15 {
			requests = append(requests, g.request(lost))
			lost.apply(requests[len(requests)-1])
		}
		o := Options{Fork: fork}
		if g.IntN(2) == 0 {
			today.writes = g.IntN(8)
			if _, _, err := replayed(t, today, o, tailOf(requests...)); err != nil && !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			today.writes = -1
		}
		for again := range 2 {
			s, entries, err := replayed(t, today, o, tailOf(requests...))
			if err != nil {
				t.Fatal(err)
			}
			unknown := doubtful(entries)
			if !unknown && s.Conflicts > 0 {
				t.Errorf("seed %d: conflicts where nothing happened", seed)
			}
			if again == 1 && s.Applied > 0 && !unknown {
				t.Errorf("seed %d: %d applied again", seed, s.Applied)
			}
			want, got := lost.contents(), today.contents()
			if !unknown && fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("seed %d: got %v, want %v", seed, got, want)
			}
			if t.Failed() {
				for i, e := range entries {
					t.Logf("%s %q %s %v %s", e.Verdict, e.Keys, e.Reason, e.Differences, requests[i])
				}
				t.FailNow()
			}
		}
	}
}

// TestTodaysHistoryIsNotOverwritten: a key that was changed since the fork stays as it is, whatever the tail did,
// unless it is just what the tail had made of it; what is written is what the lost history had at some time.
func TestTodaysHistoryIsNotOverwritten(t *testing.T) {
	conflicts, applied := uint64(0), uint64(0)
	for seed := range *seeds {
		g := newGenerator(seed, 3)
		lost, today, fork := g.split(t)
		shared, stages := lost.contents(), map[string]bool{}
		var requests []proto.Message
		for range 15 {
			requests = append(requests, g.request(lost))
			lost.apply(requests[len(requests)-1])
			all := lost.contents()
			for c := byte('a'); c <= 'f'; c++ {
				stages[string(c)+all[string(c)]] = true
			}
		}
		for range 1 + g.IntN(2) {
			if q := g.request(today); !grants(q) {
				today.apply(q)
			}
		}
		before, changed := today.contents(), map[string]bool{}
		for c := byte('a'); c <= 'f'; c++ {
			now, then, err := today.Keys(t.Context(), []string{string(c)}, fork.Revision)
			if err != nil {
				t.Fatal(err)
			}
			changed[string(c)] = now[0].GetModRevision() != then[0].GetModRevision()
		}
		for range 2 {
			s, entries, err := replayed(t, today, Options{Fork: fork}, tailOf(requests...))
			if err != nil {
				t.Fatal(err)
			}
			conflicts, applied = conflicts+s.Conflicts, applied+s.Applied
			after := today.contents()
			for name := range changed {
				was, is := before[name], after[name]
				switch {
				case was != is && changed[name] && !stages[name+was]:
					t.Errorf("%s was changed since the fork, to %s, and is %s", name, was, is)
				case was != is && !stages[name+is]:
					t.Errorf("%s is %s, and never was in the lost history", name, is)
				}
			}
			if t.Failed() {
				for i, e := range entries {
					t.Logf("%s %q %s %v %s", e.Verdict, e.Keys, e.Reason, e.Differences, requests[i])
				}
				t.Fatalf("seed %d: shared %v, lost %v", seed, shared, lost.contents())
			}
		}
	}
	if conflicts == 0 || applied == 0 {
		t.Errorf("%d conflicts, %d applied", conflicts, applied)
	}
}
