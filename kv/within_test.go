package kv

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/watch"
)

// part is a store that follows a part of another one.
type part struct {
	*node
	spans []command.Span
}

// copied returns a new part of a store, as a copy.
func copied(t *testing.T, from *node, spans []command.Span) *part {
	t.Helper()
	fs := vfs.NewMem()
	p := &part{openNode(t, fs), spans}
	p.copy(from)
	return p
}

// copy has it take a copy in the place of what it holds.
func (p *part) copy(from *node) {
	p.t.Helper()
	s, err := Open(Options{FS: p.fs, Dir: "copy", CacheBytes: 1 << 20})
	if err != nil {
		p.t.Fatal(err)
	}
	l, err := NewLoader(s)
	if err != nil {
		p.t.Fatal(err)
	}
	at := int64(0)
	err = HeldWithin(p.t.Context(), from.Store, p.spans, func(revision int64) error {
		at = revision
		return nil
	}, l.Held)
	if err == nil {
		err = l.Finish(at, at, NoteOfPart(at))
	}
	if err = errors.Join(err, l.Close()); err == nil {
		err = s.Checkpoint("copied")
	}
	if err = errors.Join(err, s.Close()); err == nil {
		err = p.Install("copied", nil)
	}
	if err = errors.Join(err, p.fs.RemoveAll("copied"), p.fs.RemoveAll("copy")); err != nil {
		p.t.Fatal(err)
	}
}

// follow brings it to where the store is that it follows, in pieces of about most bytes.
func (p *part) follow(from *node, most int64) error {
	for {
		var list []Change
		to, err := ChangesWithin(from.Store, p.spans, p.Revision(), most, func(key []byte, v *mvcc.Version) error {
			c := Change{Key: bytes.Clone(key), Version: *v}
			c.Detach()
			list = append(list, c)
			return nil
		})
		if err == nil {
			err = Accept(p.Store, to, list)
		}
		if err != nil || p.Revision() == from.Revision() {
			return err
		}
	}
}

// sums are those of what a store holds of the spans at a revision.
func sums(t *testing.T, n *node, spans []command.Span, at int64) (text string) {
	t.Helper()
	for _, sp := range spans {
		err := Digest(t.Context(), n.Store, mvcc.Asked{From: sp.Start, To: sp.End, Revision: at, Compact: at},
			func(p mvcc.Part) bool {
				text += fmt.Sprintf("%d keys, %d versions, %x; ", p.Keys, p.Versions, p.Sum)
				return true
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	return text
}

func span(prefix, end string) command.Span {
	return command.Span{Start: []byte(prefix), End: []byte(end)}
}

// drawnWrites applies some writes, within and without the prefixes a/ and c/.
func drawnWrites(n *node, r *rand.Rand) {
	key := func() string { return []string{"a/", "b/", "c/", "d/"}[r.IntN(4)] + string(rune('p'+r.IntN(5))) }
	for range 1 + r.IntN(6) {
		switch r.IntN(12) {
		case 0:
			n.apply(del(key(), ""))
		case 1:
			n.apply(del("a/", "d0"))
		case 2:
			n.apply(command.EncodeTxn(&pb.TxnRequest{Success: []*pb.RequestOp{
				putOp("a/t", fmt.Sprint(r.IntN(100))), putOp("b/t", "outside"), putOp("c/t", "2"),
			}}))
		case 3:
			if rev := n.Revision() - int64(r.IntN(4)); rev > n.CompactRevision() && rev > 0 {
				n.apply(compact(rev))
			}
		default:
			k := key()
			value := "within"
			if k[0] == 'b' || k[0] == 'd' {
				value = "outside"
			}
			n.apply(put(k, fmt.Sprint(value, r.IntN(1000))))
		}
	}
}

func putOp(key, value string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
		RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value)},
	}}
}

// A part holds of its keys what the whole holds, at every revision, and nothing of others: over compactions, reigns
// that lost something, and copies.
func TestAPartHoldsWhatTheWholeHolds(t *testing.T) {
	spans := []command.Span{span("a/", "a0"), span("c/", "c0")}
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 1))
		whole := newNode(t)
		drawnWrites(whole, r)
		p := copied(t, whole, spans)
		for range 40 {
			drawnWrites(whole, r)
			if r.IntN(10) == 0 {
				whole.begin(r.IntN(2) == 0)
			}
			err := p.follow(whole, int64(1+r.IntN(2000)))
			if errors.Is(err, command.ErrCompacted) {
				p.copy(whole)
				err = nil
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			at := whole.Revision()
			expect(t, "revision", p.Revision(), at)
			expect(t, "sums", sums(t, p.node, spans, at), sums(t, whole, spans, at))
			for _, rev := range []int64{0, max(p.CompactRevision(), at-3)} {
				expect(t, "a key", p.get("a/t", rev), whole.get("a/t", rev))
				expect(t, "another", p.get("c/p", rev), whole.get("c/p", rev))
			}
			all, err := p.Range(t.Context(), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range all.Kvs {
				if !inSpans(spans, kv.Key) || strings.Contains(string(kv.Value), "outside") {
					t.Fatalf("seed %d: the part holds %s", seed, kv.Key)
				}
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// events returns what a watcher is given up to a revision, which it is given something of.
func events(t *testing.T, w *watch.Watcher, upTo int64) (text string) {
	t.Helper()
	for last := int64(0); last < upTo; {
		b, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			last = e.Kv.ModRevision
			text += fmt.Sprintf("%v %s=%s m%d c%d v%d; ", e.Type, e.Kv.Key, e.Kv.Value, last, e.Kv.CreateRevision,
				e.Kv.Version)
		}
	}
	return text
}

// What is watched in a part comes as in the whole, in the same order, also from before.
func TestAPartIsWatchedAsTheWhole(t *testing.T) {
	spans := []command.Span{span("a/", "a0"), span("c/", "c0")}
	r := rand.New(rand.NewPCG(7, 7))
	whole := newNode(t)
	whole.apply(put("a/first", "1"), del("a/first", ""))
	p := copied(t, whole, spans)
	from := p.Revision()
	request := watch.Request{Key: []byte("a/"), RangeEnd: []byte("d"), StartRevision: from}
	open := func(n *node) *watch.Watcher {
		w, err := n.Watch(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		return w
	}
	ours := open(p.node)
	request.RangeEnd = []byte("b")
	theirs := open(whole)
	request.RangeEnd = []byte("d")
	for range 30 {
		for range 5 {
			whole.apply(put("a/"+string(rune('a'+r.IntN(9))), "1"), put("b/x", "outside"))
			whole.apply(del("a/"+string(rune('a'+r.IntN(9))), ""))
		}
		if err := p.follow(whole, 300); err != nil {
			t.Fatal(err)
		}
	}
	whole.apply(put("a/last", "1"))
	if err := p.follow(whole, 300); err != nil {
		t.Fatal(err)
	}
	at := whole.Revision()
	want := events(t, theirs, at)
	if events(t, ours, at) != want {
		t.Error("what was watched all along differs")
	}
	if events(t, open(p.node), at) != want {
		t.Error("what is watched from before differs")
	}
}

// What parted is told, and what does not fit is not taken.
func TestAPartTakesNothingThatDoesNotFit(t *testing.T) {
	spans := []command.Span{span("a/", "a0")}
	whole, other := newNode(t), newNode(t)
	for _, n := range []*node{whole, other} {
		n.apply(put("a/x", "1"), put("b/x", "outside"))
	}
	p := copied(t, whole, spans)
	whole.apply(put("a/x", "2"))
	other.begin(true)
	if err := p.follow(whole, 1); err != nil {
		t.Fatal(err)
	}
	if err := p.follow(other, 1); !errors.Is(err, ErrNotHere) {
		t.Errorf("behind what another history cut off: %v", err)
	}
	if _, err := ChangesWithin(whole.Store, spans, whole.Revision()+1, 1, nil); !errors.Is(err, ErrBehind) {
		t.Errorf("behind a revision that is to come: %v", err)
	}
	whole.apply(put("a/x", "3"), compact(whole.Revision()))
	if _, err := ChangesWithin(whole.Store, spans, 1, 1, nil); !errors.Is(err, command.ErrCompacted) {
		t.Errorf("behind what was compacted: %v", err)
	}
	before, rev := p.get("a/x", 0), p.Revision()
	for what, c := range map[string]Change{
		"another version": {[]byte("a/x"), mvcc.Version{Stamp: mvcc.Stamp{Main: rev + 1}, Create: 2, Number: 7}},
		"another life": {[]byte("a/x"), mvcc.Version{Stamp: mvcc.Stamp{Main: rev + 1}, Create: rev + 1,
			Number: 1}},
		"once more":         {[]byte("a/x"), mvcc.Version{Stamp: mvcc.Stamp{Main: rev}, Create: 2, Number: 3}},
		"too late":          {[]byte("a/x"), mvcc.Version{Stamp: mvcc.Stamp{Main: rev + 2}, Create: 2, Number: 3}},
		"what is not there": {[]byte("a/y"), mvcc.Version{Stamp: mvcc.Stamp{Main: rev + 1}, Kind: mvcc.KindDelete}},
	} {
		err := Accept(p.Store, mvcc.State{Revision: rev + 1, Compact: -1}, []Change{c})
		if !errors.Is(err, command.ErrParted) || p.get("a/x", 0) != before || p.Revision() != rev {
			t.Errorf("%s: %v, and then %s at %d", what, err, p.get("a/x", 0), p.Revision())
		}
	}
	if err := Accept(p.Store, mvcc.State{Revision: rev - 1, Compact: -1}, nil); !errors.Is(err, command.ErrParted) {
		t.Errorf("a state of before: %v", err)
	}
}
