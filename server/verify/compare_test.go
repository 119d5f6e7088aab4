package verify_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/verify"
)

// history is the store of one node.
type history struct {
	*kv.Store
	t  *testing.T
	at replication.Metadata
}

func newHistory(t *testing.T) *history {
	t.Helper()
	s, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "store", Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		_, err = s.Load()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &history{Store: s, t: t, at: replication.Metadata{Epoch: 1}}
}

func (h *history) Digest(ctx context.Context, q mvcc.Asked, part func(mvcc.Part) bool) error {
	return kv.Digest(ctx, h.Store, q, part)
}

func (h *history) apply(commands ...[]byte) {
	h.t.Helper()
	b := &replication.Batch{First: h.at.Position + 1, Metadata: &h.at}
	for _, c := range commands {
		b.Commands = append(b.Commands, replication.Command{Data: c})
	}
	h.at.AppliedIndex++
	h.at.Position += replication.Position(len(commands))
	if _, err := h.Apply(b); err != nil {
		h.t.Fatal(err)
	}
}

func put(key, value string) []byte {
	return command.EncodePut(&pb.PutRequest{Key: []byte(key), Value: []byte(value)})
}

func remove(key string) []byte {
	return command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte(key)})
}

func compact(rev int64) []byte { return command.EncodeCompaction(&pb.CompactionRequest{Revision: rev}) }

// many are puts of numbered keys.
func many(n int) (commands [][]byte) {
	for i := range n {
		commands = append(commands, put(key(i), strings.Repeat("v", i%50)))
	}
	return commands
}

func key(i int) string { return fmt.Sprintf("/a/%06d", i) }

// node is a node that holds what a store holds.
func node(name string, s verify.Store) verify.Node {
	return verify.Node{Name: name, Ask: func(ctx context.Context, q *verify.Question) (*verify.Answer, error) {
		a, err := q.Answer(ctx, s)
		switch {
		case errors.Is(err, command.ErrCompacted):
			return nil, verify.ErrCompacted
		case errors.Is(err, kv.ErrNotHere):
			return nil, verify.ErrElsewhere
		case err != nil:
			return nil, err
		}
		a.Node = name
		return a, nil
	}}
}

// three returns the stores of three nodes with the same history.
func three(t *testing.T, commands ...[]byte) (all [3]*history, nodes []verify.Node) {
	for i := range all {
		all[i] = newHistory(t)
		all[i].apply(commands...)
		nodes = append(nodes, node(string(rune('a'+i)), all[i]))
	}
	return all, nodes
}

func compare(t *testing.T, o verify.Options, nodes ...verify.Node) *verify.Result {
	t.Helper()
	r, err := verify.Compare(t.Context(), nodes, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What is written meanwhile, and who is behind or has compacted less, makes no difference.
func TestEqualHistories(t *testing.T) {
	all, nodes := three(t, many(10_000)...)
	all[0].apply(put(key(3), "again"), remove(key(4)), compact(9_000), put(key(5), "more"))
	all[1].apply(put(key(3), "again"), remove(key(4)), compact(9_000))
	all[2].apply(put(key(3), "again"), remove(key(4)), compact(7_000))
	told := 0
	o := verify.Options{Revision: 10_003, Compact: 9_000, Told: func(*verify.Result) { told++ }}
	r := compare(t, o, nodes...)
	if r.First != nil || len(r.Missing) > 0 || len(r.Nodes) != 3 || r.Keys != 10_000 || r.Versions != 10_002 ||
		r.Parts != 3 || told == 0 {
		t.Errorf("%+v", r)
	}
	some := compare(t, verify.Options{Revision: 10_003, Compact: 9_000,
		Range: verify.Range{From: []byte(key(100)), To: []byte(key(200))}}, nodes...)
	if some.Keys != 100 {
		t.Errorf("of a range: %+v", some)
	}
	if none := compare(t, verify.Options{Revision: 10_003, Compact: 9_000,
		Range: verify.Range{From: []byte("/b"), To: []byte("/c")}}, nodes...); none.Keys != 0 || none.First != nil {
		t.Errorf("of nothing: %+v", none)
	}
}

// One difference of each kind, anywhere, is found, and narrowed down to the keys that are next to it.
func TestDifferences(t *testing.T) {
	const keys = 4200
	for _, c := range []struct{ name, key, first, until string }{
		{"another value", key(500), key(500), key(501)},
		{"the first key", key(0), "", key(1)},
		{"the last key", key(keys - 1), key(keys - 1), "/y"},
		{"a key too many", key(4100) + "x", key(4100), key(4101)},
		{"a key before all", "/a", "", key(1)},
		{"a key too few", key(600), key(600), key(601)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for odd := range 2 {
				all, nodes := three(t, many(keys)...)
				for i, h := range all {
					switch {
					case i != odd:
						h.apply(put("/z", "")) // at the same revision, and not compared
					case c.name == "a key too few":
						h.apply(remove(c.key))
					default:
						h.apply(put(c.key, "x"))
					}
				}
				r := compare(t, verify.Options{Revision: keys + 2, Compact: keys + 1,
					Range: verify.Range{To: []byte("/y")}}, nodes...)
				if r.First == nil || r.Differing != 1 {
					t.Fatalf("%+v", r)
				}
				d := r.First
				if want := nodes[odd].Name; len(d.Groups) != 2 || !slices.Equal(d.Groups[1].Nodes, []string{want}) {
					t.Errorf("of %s: %+v", want, d.Groups)
				}
				from, to := string(d.From), string(d.To)
				if from > c.key || to <= c.key || d.Groups[0].Keys > 2 || d.Groups[1].Keys > 2 {
					t.Errorf("%q is not alone in what begins at %q and ends before %q: %+v", c.key, from, to, d.Groups)
				}
				if odd > 0 && (from != c.first || to != c.until) {
					t.Errorf("from %q to %q, want %q and %q", from, to, c.first, c.until)
				}
			}
		})
	}
}

// Who ceases to answer, whichever it is, is missing from there on, and the others are compared to the end.
func TestSilentNodes(t *testing.T) {
	for silent := range 3 {
		_, nodes := three(t, many(9_000)...)
		asked, inner := 0, nodes[silent].Ask
		nodes[silent].Ask = func(ctx context.Context, q *verify.Question) (*verify.Answer, error) {
			if asked++; asked > 1 {
				return nil, errors.New("gone")
			}
			a, err := inner(ctx, q)
			if err == nil && q.Every > 0 && len(a.Parts) > 2 { // a second question follows
				a.Parts, a.More = a.Parts[:2], true
			}
			return a, err
		}
		short := nodes[0].Ask
		if silent != 0 {
			nodes[0].Ask = func(ctx context.Context, q *verify.Question) (*verify.Answer, error) {
				a, err := short(ctx, q)
				if err == nil && q.Every > 0 && len(a.Parts) > 2 {
					a.Parts, a.More = a.Parts[:2], true
				}
				return a, err
			}
		}
		r := compare(t, verify.Options{Revision: 9_001}, nodes...)
		if len(r.Missing) != 1 || r.Missing[0].Node != nodes[silent].Name || len(r.Nodes) != 2 || r.Keys != 9_000 ||
			r.First != nil {
			t.Errorf("without %s: %+v", nodes[silent].Name, r)
		}
	}
	_, nodes := three(t, many(10)...)
	dead := func(context.Context, *verify.Question) (*verify.Answer, error) { return nil, errors.New("dead") }
	nodes[1].Ask, nodes[2].Ask = dead, dead
	if r, err := verify.Compare(t.Context(), nodes, verify.Options{Revision: 2}); err == nil ||
		!strings.Contains(err.Error(), "c: dead") {
		t.Errorf("alone: %+v, %v", r, err)
	}
}

// What was compacted meanwhile is no difference, and a lie about parts is no answer.
func TestAnswersThatAreNone(t *testing.T) {
	all, nodes := three(t, many(10)...)
	all[1].apply(compact(8))
	_, err := verify.Compare(t.Context(), nodes, verify.Options{Revision: 11})
	if !errors.Is(err, verify.ErrCompacted) {
		t.Errorf("compacted: %v", err)
	}
	for _, lie := range []verify.Answer{
		{Node: "b", Parts: []verify.Part{{}}}, {}, {Parts: []verify.Part{{}}, More: true},
		{Parts: []verify.Part{{Range: verify.Range{From: []byte("b")}}}},
		{Parts: []verify.Part{{Range: verify.Range{To: []byte("b")}}}},
		{Parts: []verify.Part{{Range: verify.Range{To: []byte("b")}}, {Range: verify.Range{From: []byte("c")}}}},
	} {
		liar := nodes[0]
		lie.Node = cmp.Or(lie.Node, "a")
		liar.Ask = func(context.Context, *verify.Question) (*verify.Answer, error) { return &lie, nil }
		if r := compare(t, verify.Options{Revision: 11, Compact: 8}, liar, nodes[1], nodes[2]); len(r.Missing) != 1 {
			t.Errorf("%+v: %+v", lie, r)
		}
	}
	for _, q := range []verify.Question{
		{}, {Ranges: make([]verify.Range, verify.MostRanges+1)}, {Ranges: make([]verify.Range, 2), Every: 1},
		{Ranges: make([]verify.Range, 1), Every: -1},
	} {
		if _, err := q.Answer(t.Context(), all[0]); !errors.Is(err, verify.ErrQuestion) {
			t.Errorf("%d ranges: %v", len(q.Ranges), err)
		}
	}
}

// An answer that is cut into parts ends at a bound, and the next question goes on behind it.
func TestAnswersAreBounded(t *testing.T) {
	h := newHistory(t)
	h.apply(many(3000)...)
	q := verify.Question{Revision: 3001, Ranges: []verify.Range{{}}, Every: 1}
	var keys int64
	for questions := 0; ; questions++ {
		a, err := q.Answer(t.Context(), h)
		if err != nil || len(a.Parts) > verify.MostRanges {
			t.Fatalf("%d parts, %v", len(a.Parts), err)
		}
		for _, p := range a.Parts {
			keys += p.Keys
		}
		if !a.More {
			if keys != 3000 || questions != 2 {
				t.Errorf("%d keys in %d more questions", keys, questions)
			}
			return
		}
		q.Ranges[0].From = a.Parts[len(a.Parts)-1].To
	}
}

func TestAgree(t *testing.T) {
	rev, compact, missing := verify.Agree([]verify.Standing{
		{Name: "a", Revision: 100, Compact: 10}, {Name: "b", Revision: 90, Compact: 40},
		{Name: "late", Revision: 30, Compact: 5}, {Name: "c", Revision: 95, Compact: -1},
	})
	if rev != 90 || compact != 40 || len(missing) != 1 || missing[0].Node != "late" {
		t.Error(rev, compact, missing)
	}
}

// Who is at an end that a failover cut off has no revision at which the others could be compared with him, and is told.
func TestWhoIsOnAnotherBranchIsMissing(t *testing.T) {
	all, nodes := three(t, many(10)...)
	all[0].apply(put("lost", "1"), put("lost", "2"))
	for _, h := range all[1:] {
		h.at.Epoch++
		h.at.AppliedIndex++
		if err := h.Begin(replication.Reign{Epoch: h.at.Epoch, Lossy: true}, &h.at); err != nil {
			t.Fatal(err)
		}
		h.apply(put("after", "1"))
	}
	standings := []verify.Standing{
		{Name: "a", Revision: all[0].Revision()}, {Name: "b", Revision: all[1].Revision()},
		{Name: "c", Revision: all[2].Revision()},
	}
	revision, _, _ := verify.Agree(standings)
	_, err := verify.Compare(t.Context(), nodes, verify.Options{Revision: revision})
	if !errors.Is(err, verify.ErrElsewhere) {
		t.Fatalf("at %d: %v", revision, err)
	}
	if parted := verify.Parted(standings, revision); len(parted) != 1 || parted[0].Node != "a" {
		t.Errorf("%+v", parted)
	}
	revision, _, _ = verify.Agree(standings[1:])
	if r := compare(t, verify.Options{Revision: revision}, nodes[1:]...); r.First != nil || r.Keys != 11 {
		t.Errorf("%+v", r)
	}
}

// heavy is a store in which a byte counts as many: it holds more than it takes here.
type heavy struct{ verify.Store }

const weight = 16

func (s heavy) Digest(ctx context.Context, q mvcc.Asked, part func(mvcc.Part) bool) error {
	q.Most /= weight
	return s.Store.Digest(ctx, q, func(p mvcc.Part) bool {
		p.Bytes *= weight
		return part(p)
	})
}

// A node that holds nothing does not make the others sum all they have at once.
func TestWhoHoldsNothingComesFirst(t *testing.T) {
	empty, full := newHistory(t), newHistory(t)
	for range 300 { // as many revisions, of one key
		empty.apply(put("z", ""))
	}
	for i := range 30 { // of 10 MB each
		var batch [][]byte
		for k := range 10 {
			batch = append(batch, put(key(10*i+k), strings.Repeat("v", 1_000_000/weight)))
		}
		full.apply(batch...)
	}
	all := node("b", heavy{full})
	asked := 0
	watched := verify.Node{Name: "b", Ask: func(ctx context.Context, q *verify.Question) (*verify.Answer, error) {
		a, err := all.Ask(ctx, q)
		sum := int64(0)
		for _, p := range a.Parts {
			sum += p.Bytes
		}
		if asked++; sum > 280<<20 {
			t.Errorf("%d bytes were summed for one answer", sum)
		}
		return a, err
	}}
	o := verify.Options{Revision: 301, Compact: 300}
	if r := compare(t, o, node("a", empty), watched); r.First == nil || r.Differing == 0 {
		t.Errorf("%+v", r)
	}
	if asked < 2 {
		t.Error("it was asked once")
	}
}

// A difference that was found is told, also if it cannot be narrowed down.
func TestADifferenceIsTold(t *testing.T) {
	all, nodes := three(t, many(300)...)
	all[2].apply(put(key(7), "x"))
	all[0].apply(put("/z", ""))
	inner, asked := nodes[2].Ask, 0
	nodes[2].Ask = func(ctx context.Context, q *verify.Question) (*verify.Answer, error) {
		if asked++; asked > 1 {
			return nil, verify.ErrCompacted
		}
		return inner(ctx, q)
	}
	o := verify.Options{Revision: 302, Range: verify.Range{To: []byte("/y")}}
	r, err := verify.Compare(t.Context(), []verify.Node{nodes[0], nodes[2]}, o)
	if err != nil || r.First == nil || r.Differing != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// What is compared in pieces is told as one, and who was missing in one of them is.
func TestPieces(t *testing.T) {
	first := &verify.Result{Revision: 5, Keys: 10, Parts: 1, Nodes: []string{"a", "b", "c"}}
	var all verify.Result
	all.Add(&verify.Result{Revision: 4, Missing: []verify.Missing{{Node: "d"}}})
	all.Add(first)
	all.Add(&verify.Result{Revision: 9, Keys: 5, Parts: 2, Nodes: []string{"a", "b", "d"}, Differing: 1,
		First: &verify.Difference{}, Missing: []verify.Missing{{Node: "e"}}})
	if all.Revision != 9 || all.Earlier != 5 || all.Keys != 15 || all.Parts != 3 || !slices.Equal(all.Nodes,
		[]string{"a", "b"}) || all.First == nil || len(all.Missing) != 2 {
		t.Errorf("%+v", all)
	}
}
