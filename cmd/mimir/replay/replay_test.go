package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

func put(key, value string) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(key), Value: []byte(value)}
}

func leasedPut(key, value string, id int64) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: id}
}

func del(key, end string) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
}

func putting(p ...*pb.PutRequest) (ops []*pb.RequestOp) {
	for _, one := range p {
		ops = append(ops, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: one}})
	}
	return ops
}

// cas is how Kubernetes writes: if the key is as it was seen, at a revision, it becomes something else.
func cas(key string, seen int64, p ...*pb.PutRequest) *pb.TxnRequest {
	return &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: []byte(key), Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: seen},
		}},
		Success: putting(p...),
		Failure: []*pb.RequestOp{{
			Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key)}},
		}},
	}
}

// absent puts keys if there is nothing in a range.
func absent(from, end string, p ...*pb.PutRequest) *pb.TxnRequest {
	return &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: []byte(from), RangeEnd: []byte(end), Target: pb.Compare_VERSION,
			TargetUnion: &pb.Compare_Version{Version: 0},
		}},
		Success: putting(p...),
	}
}

func text(entries []*Entry) string {
	var words []string
	for _, e := range entries {
		words = append(words, string(e.Verdict))
	}
	return strings.Join(words, " ")
}

type requests = []proto.Message

// Both histories have k = 1 at revision 2, r/1 at 3 and lease 9 with l at 4: the first change of the tail is 5.
var shared = requests{
	put("k", "1"), put("r/1", "1"), &pb.LeaseGrantRequest{ID: 9, TTL: 60}, leasedPut("l", "1", 9),
}

// TestVerdicts: what a tail did, what happened since, and what becomes of each command; of a second run too.
func TestVerdicts(t *testing.T) {
	chain := requests{
		cas("k", 2, put("k", "2")), cas("k", 5, put("k", "3")), cas("k", 6, put("k", "4")), cas("n", 0, put("n", "1")),
	}
	for _, c := range []struct {
		what        string
		tail, since requests
		want, again string
		contents    string
		options     Options
	}{
		{what: "a chain of compare-and-swap", tail: chain, want: "applied applied applied applied",
			again: "there there there there", contents: "k=4 l=1 n=1 r/1=1"},
		{what: "a chain whose key was changed", tail: chain, since: requests{put("k", "today")},
			want: "conflict conflict conflict applied", again: "conflict conflict conflict there",
			contents: "k=today l=1 n=1 r/1=1"},
		{what: "a chain that somebody did again", tail: chain, since: requests{put("k", "4"), put("n", "1")},
			want: "there there there there", again: "there there there there", contents: "k=4 l=1 n=1 r/1=1"},
		{what: "a key that was made since", tail: requests{cas("n", 0, put("n", "1"))},
			since: requests{put("n", "today")}, want: "conflict", again: "conflict", contents: "k=1 l=1 n=today r/1=1"},
		{what: "a swap that failed when it was tried", tail: requests{cas("k", 1, put("k", "2")), put("n", "1")},
			want: "nothing applied", again: "nothing there", contents: "k=1 l=1 n=1 r/1=1"},
		{what: "what builds on a conflict", tail: requests{cas("k", 2, put("k", "2"), put("a", "1")), put("a", "2")},
			since: requests{put("k", "today")}, want: "conflict conflict", again: "conflict conflict",
			contents: "k=today l=1 r/1=1"},
		{what: "a compared key that was changed", tail: requests{cas("k", 2, put("a", "1"))},
			since: requests{put("k", "1")}, want: "conflict", again: "conflict", contents: "k=1 l=1 r/1=1"},
		{what: "a put without a condition over a newer one", tail: requests{put("k", "lost")},
			since: requests{put("k", "today")}, want: "conflict", again: "conflict", contents: "k=today l=1 r/1=1"},
		{what: "a deletion", tail: requests{del("r/", "r0"), put("r/2", "1")}, want: "applied applied",
			again: "there there", contents: "k=1 l=1 r/2=1"},
		{what: "a deletion of a range into which something came", tail: requests{del("r/", "r0")},
			since: requests{put("r/2", "today")}, want: "conflict", again: "conflict",
			contents: "k=1 l=1 r/1=1 r/2=today"},
		{what: "an empty range",
			tail: requests{absent("s/", "s0", put("s/1", "1")), absent("s/", "s0", put("s/2", "1"))},
			want: "applied nothing", again: "there nothing", contents: "k=1 l=1 r/1=1 s/1=1"},
		{what: "a range that is not empty any more", tail: requests{absent("s/", "s0", put("a", "1"))},
			since: requests{put("s/today", "1")}, want: "conflict", again: "conflict",
			contents: "k=1 l=1 r/1=1 s/today=1"},
		{what: "a lease of the tail", tail: requests{&pb.LeaseGrantRequest{ID: 5, TTL: 60}, leasedPut("m", "1", 5)},
			want: "applied applied", again: "there there", contents: "k=1 l=1 m=1 r/1=1"},
		{what: "a lease that is gone", tail: requests{leasedPut("m", "1", 9), put("n", "1")},
			since: requests{&pb.LeaseRevokeRequest{ID: 9}}, want: "conflict applied", again: "conflict there",
			contents: "k=1 n=1 r/1=1"},
		{what: "a lease that was revoked", tail: requests{&pb.LeaseRevokeRequest{ID: 9}}, want: "applied",
			again: "there", contents: "k=1 r/1=1"},
		{what: "a revoked lease on which more hangs today", tail: requests{&pb.LeaseRevokeRequest{ID: 9}},
			since: requests{leasedPut("m", "today", 9)}, want: "conflict", again: "conflict",
			contents: "k=1 l=1 m=today r/1=1"},
		{what: "a revoked lease on which hangs what was not deleted", since: requests{put("r/2", "today")},
			tail: requests{&pb.LeaseGrantRequest{ID: 5, TTL: 60}, leasedPut("r/1", "2", 5), del("r/", "r0"),
				&pb.LeaseRevokeRequest{ID: 5}},
			want: "there applied conflict conflict", again: "there there conflict conflict",
			contents: "k=1 l=1 r/1=2 r/2=today"},
		{what: "a revoked lease on which something may have hung",
			tail: requests{leasedPut("n", "1", 7), cas("n", 0, leasedPut("m", "1", 9)), put("l", "2"),
				&pb.LeaseRevokeRequest{ID: 9}, put("m", "2")},
			want: "conflict conflict applied conflict conflict", again: "conflict conflict there conflict conflict",
			contents: "k=1 l=2 r/1=1"},
		{what: "a compaction", tail: requests{&pb.CompactionRequest{Revision: 3}, &pb.AlarmRequest{}},
			want: "not-replayed not-replayed", again: "not-replayed not-replayed", contents: "k=1 l=1 r/1=1"},
		{what: "one key", tail: requests{put("k", "2"), put("n", "1"), cas("n", 6, put("k", "3"))},
			options: Options{Only: []string{"k"}}, want: "applied left-out conflict", again: "there left-out conflict",
			contents: "k=2 l=1 r/1=1"},
		{what: "a prefix", tail: requests{put("r/1", "2"), put("r", "2"), put("r/2", "2")},
			options: Options{Only: []string{"r/"}}, want: "applied left-out applied", again: "there left-out there",
			contents: "k=1 l=1 r/1=2 r/2=2"},
		{what: "more than a transaction may have", tail: requests{del("k", "s")}, options: Options{MaxOps: 2},
			want: "conflict", again: "conflict", contents: "k=1 l=1 r/1=1"},
		{what: "more than a request may have", tail: requests{put("k", strings.Repeat("2", 100)), put("r/1", "2")},
			options: Options{MaxBytes: 100}, want: "conflict applied", again: "conflict there",
			contents: "k=1 l=1 r/1=2"},
	} {
		t.Run(c.what, func(t *testing.T) {
			today := newHistory(t)
			for _, q := range shared {
				today.apply(q)
			}
			c.options.Fork = today.begin(2, 2)
			for _, q := range c.since {
				today.apply(q)
			}
			before := fmt.Sprint(today.contents())
			dry := c.options
			dry.DryRun = true
			_, entries, err := replayed(t, today, dry, tailOf(c.tail...))
			if got := strings.ReplaceAll(text(entries), "applies", "applied"); err != nil || got != c.want {
				t.Errorf("dry: %s, %v, want %s", got, err, c.want)
			}
			if after := fmt.Sprint(today.contents()); after != before {
				t.Errorf("a dry run left %s of %s", after, before)
			}
			for _, want := range []string{c.want, c.again} {
				_, entries, err := replayed(t, today, c.options, tailOf(c.tail...))
				if got := text(entries); err != nil || got != want {
					t.Errorf("got %s, %v, want %s", got, err, want)
					for _, e := range entries {
						t.Logf("%s: %s, %+v", e.Verdict, e.Reason, e.Differences)
					}
				}
			}
			if got := today.values(); got != c.contents {
				t.Errorf("left %s, want %s", got, c.contents)
			}
		})
	}
}

// values are all keys with their values.
func (h *history) values() string {
	var all []string
	r, err := h.Range(context.Background(), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, kv := range r.Kvs {
		all = append(all, fmt.Sprintf("%s=%s", kv.Key, kv.Value))
	}
	return strings.Join(all, " ")
}

// TestBothValuesOfAConflict are told, with what they were at the fork.
func TestBothValuesOfAConflict(t *testing.T) {
	today := newHistory(t)
	for _, q := range shared {
		today.apply(q)
	}
	fork := today.begin(2, 2)
	today.apply(put("k", "today"))
	_, entries, err := replayed(t, today, Options{Fork: fork}, tailOf(put("k", "lost"), put("k", "lost too")))
	if err != nil || len(entries) != 2 || len(entries[0].Differences) != 1 || len(entries[1].Differences) != 1 {
		t.Fatalf("%+v, %v", entries, err)
	}
	if why := entries[1].Differences[0].Reason; why != "it builds on the conflict at position 1" {
		t.Errorf("the second one: %s", why)
	}
	d := entries[0].Differences[0]
	if string(d.Key) != "k" || string(d.Fork.Value) != "1" || d.Fork.Revision != 2 || string(d.Lost.Value) != "lost" ||
		d.Lost.Revision != 5 || string(d.Today.Value) != "today" || d.Today.Revision != today.Revision() {
		t.Errorf("%s: %+v, %+v, %+v", d.Key, d.Fork, d.Lost, d.Today)
	}
}

// TestAnExpiryIsNotReplayed, and what builds on it is a conflict.
func TestAnExpiryIsNotReplayed(t *testing.T) {
	today := newHistory(t)
	for _, q := range shared {
		today.apply(q)
	}
	fork := today.begin(2, 2)
	var expired []*Command
	tail := func(_ context.Context, visit func(*Command) error) error {
		for i, c := range expired {
			c.Position = uint64(i + 1)
			if err := visit(c); err != nil {
				return err
			}
		}
		return visit(&Command{
			Position: uint64(len(expired) + 1), Op: "txn", Request: cas("l", 0, put("l", "2")),
		})
	}
	for name, these := range map[string][]*Command{
		"not-replayed conflict": {{Op: OpExpiry, Request: &pb.LeaseRevokeRequest{ID: 9}}},
		"not-replayed not-replayed conflict": {
			{Op: OpExpiryPart, Request: &pb.TxnRequest{Success: []*pb.RequestOp{{
				Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
					Compare: []*pb.Compare{{
						Key: []byte("l"), Target: pb.Compare_LEASE, TargetUnion: &pb.Compare_Lease{Lease: 9},
					}},
					Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{
						RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("l")},
					}}},
				}},
			}}}},
			{Op: OpExpiry, Request: &pb.LeaseRevokeRequest{ID: 9}},
		},
	} {
		expired = these
		_, entries, err := replayed(t, today, Options{Fork: fork}, tail)
		if got := text(entries); err != nil || got != name || today.values() != "k=1 l=1 r/1=1" {
			t.Errorf("%s, %v, %s", got, err, today.values())
		}
	}
}

// TestCompactedForks: a chain is decided without the contents at the fork, and without its revision.
func TestCompactedForks(t *testing.T) {
	chain := requests{
		cas("k", 2, put("k", "2")), cas("k", 5, put("k", "3")), cas("n", 0, put("n", "1")), cas("n", 7, put("n", "2")),
	}
	for _, c := range []struct {
		what  string
		since requests
		adapt func(f *Fork)
		want  string
	}{
		{"readable", nil, func(*Fork) {}, "applied applied applied applied"},
		{"compacted: what is not there may have been", nil, func(f *Fork) { f.Readable = f.Base },
			"applied applied conflict conflict"},
		{"compacted, and it was not", nil, func(f *Fork) { f.Readable, f.MissingIsNew = f.Base, true },
			"applied applied applied applied"},
		{"without a revision", nil, func(f *Fork) { f.Revision, f.Readable, f.MissingIsNew = 0, f.Base, true },
			"applied applied applied applied"},
		{"without a revision, and one is changed", requests{put("k", "today")},
			func(f *Fork) { f.Revision, f.Readable, f.MissingIsNew = 0, f.Base, true },
			"conflict conflict applied applied"},
	} {
		t.Run(c.what, func(t *testing.T) {
			today := newHistory(t)
			for _, q := range shared {
				today.apply(q)
			}
			fork := today.begin(2, 2)
			for _, q := range c.since {
				today.apply(q)
			}
			if c.adapt(&fork); fork.Readable == fork.Base {
				today.apply(&pb.CompactionRequest{Revision: today.Revision()})
			}
			_, entries, err := replayed(t, today, Options{Fork: fork}, tailOf(chain...))
			if got := text(entries); err != nil || got != c.want {
				t.Errorf("%s, %v, want %s: %s", got, err, c.want, entries[len(entries)-1].Reason)
			}
		})
	}
}

// TestATailWithAJump: revisions that a reign of the lost history gave out are counted from where it began.
func TestATailWithAJump(t *testing.T) {
	lost, today := newHistory(t), newHistory(t)
	for _, q := range shared {
		lost.apply(q)
		today.apply(q)
	}
	tail := requests{put("k", "2")}
	lost.apply(tail[0])
	jump := mvcc.Jump{Epoch: 2, Place: 1, Nonce: [16]byte{2}}
	lost.begin(2, 1)
	fork := today.begin(3, 2)
	fork.Jumps = []Jump{{First: 2, Jump: jump}}
	tail = append(tail, put("k", "3"))
	lost.apply(tail[1])
	tail = append(tail, cas("k", lost.Revision(), put("k", "4")))
	_, entries, err := replayed(t, today, Options{Fork: fork}, tailOf(tail...))
	if got := text(entries); err != nil || got != "applied applied applied" {
		t.Errorf("%s, %v", got, err)
	}
}

// TestChangesOfAState are replayed by revision, each with everything that changed there.
func TestChangesOfAState(t *testing.T) {
	today := newHistory(t)
	for _, q := range shared {
		today.apply(q)
	}
	fork := today.begin(2, 2)
	today.apply(put("b", "today"))
	event := func(kind mvccpb.Event_EventType, key, value string, rev, version int64) *mvccpb.Event {
		return &mvccpb.Event{Type: kind, Kv: &mvccpb.KeyValue{
			Key: []byte(key), Value: []byte(value), Version: version,
			ModRevision: rev, CreateRevision: rev - version + 1,
		}}
	}
	tail := func(_ context.Context, visit func(*Command) error) error {
		for rev, events := range [][]*mvccpb.Event{
			5: {event(mvccpb.PUT, "k", "2", 5, 2), event(mvccpb.PUT, "n", "1", 5, 1)},
			6: {event(mvccpb.DELETE, "r/1", "", 6, 0)},
			7: {event(mvccpb.PUT, "b", "lost", 7, 1), event(mvccpb.PUT, "c", "lost", 7, 1)},
		} {
			if len(events) > 0 {
				if err := visit(&Command{Revision: int64(rev), Op: OpChanges, Events: events}); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, want := range []string{"applied applied conflict", "there there conflict"} {
		_, entries, err := replayed(t, today, Options{Fork: fork}, tail)
		if got := text(entries); err != nil || got != want || today.values() != "b=today k=2 l=1 n=1" {
			t.Errorf("%s, %v, %s", got, err, today.values())
		}
	}
}

// TestNothingSlipsIn between the look and the transaction: neither at a key that is written or compared, nor in a
// range.
func TestNothingSlipsIn(t *testing.T) {
	for what, c := range map[string]struct {
		tail, meanwhile proto.Message
		left            string
	}{
		"the key":        {put("k", "lost"), put("k", "today"), "k=today l=1 r/1=1"},
		"a new key":      {cas("n", 0, put("n", "lost")), put("n", "today"), "k=1 l=1 n=today r/1=1"},
		"a compared key": {cas("k", 2, put("n", "lost")), put("k", "1"), "k=1 l=1 r/1=1"},
		"a range":        {absent("s/", "s0", put("n", "lost")), put("s/1", "today"), "k=1 l=1 r/1=1 s/1=today"},
		"a lease":        {leasedPut("n", "lost", 9), &pb.LeaseRevokeRequest{ID: 9}, "k=1 r/1=1"},
	} {
		today := newHistory(t)
		for _, q := range shared {
			today.apply(q)
		}
		fork := today.begin(2, 2)
		today.meanwhile = c.meanwhile
		s, entries, err := replayed(t, today, Options{Fork: fork}, tailOf(c.tail))
		if err != nil || s.Conflicts != 1 || today.values() != c.left {
			t.Errorf("%s: %s, %v, left %s", what, text(entries), err, today.values())
		}
	}
}

// overtaken is a history to which something else is done just before the transaction or grant of a number.
type overtaken struct {
	*history
	at int
	by func()
}

func (o *overtaken) next() {
	if o.at--; o.at == 0 {
		o.by()
	}
}

// Txn implements Fleet.
func (o *overtaken) Txn(ctx context.Context, q *pb.TxnRequest) (*pb.TxnResponse, error) {
	o.next()
	return o.history.Txn(ctx, q)
}

// Grant implements Fleet.
func (o *overtaken) Grant(ctx context.Context, id, ttl int64) error {
	o.next()
	return o.history.Grant(ctx, id, ttl)
}

// TestAReplayThatAnotherOneOvertakes: what that did is there, and done by nobody again; where it has done more with a
// key since, that is a conflict of this run only.
func TestAReplayThatAnotherOneOvertakes(t *testing.T) {
	all := requests{
		put("a", "1"), &pb.LeaseGrantRequest{ID: 5, TTL: 60}, leasedPut("b", "1", 5), del("r/1", ""),
		cas("k", 2, put("k", "2"), put("c", "1")), put("d", "1"),
	}
	for at := range len(all) {
		today := newHistory(t)
		for _, q := range shared {
			today.apply(q)
		}
		fork := today.begin(2, 2)
		run := func(f Fleet, tail Tail) string {
			var entries []*Entry
			_, err := Run(t.Context(), tail, f, Options{Fork: fork, MaxOps: 128, Report: func(e *Entry) error {
				entries = append(entries, e)
				return nil
			}})
			if err != nil {
				t.Fatalf("overtaken at %d: %v", at, err)
			}
			return text(entries)
		}
		other := ""
		first := run(&overtaken{today, at + 1, func() { other = run(today, tailOf(all...)) }}, tailOf(all...))
		for i, want := range strings.Fields(other) {
			if got := strings.Fields(first)[i]; got == want || got != "applied" && got != "there" {
				t.Errorf("overtaken at %d: %s, and by %s", at, first, other)
				break
			}
		}
		if got := today.values(); got != "a=1 b=1 c=1 d=1 k=2 l=1" {
			t.Errorf("overtaken at %d: left %s", at, got)
		}
	}
	today := newHistory(t)
	for _, q := range shared {
		today.apply(q)
	}
	fork := today.begin(2, 2)
	chain := requests{cas("k", 2, put("k", "2")), cas("k", 5, put("k", "3"))}
	today.meanwhile = cas("k", 2, put("k", "3"))
	if _, entries, err := replayed(t, today, Options{Fork: fork}, tailOf(chain...)); err != nil ||
		text(entries) != "conflict conflict" || today.values() != "k=3 l=1 r/1=1" {
		t.Errorf("%s, %v, %s", text(entries), err, today.values())
	}
	if _, entries, err := replayed(t, today, Options{Fork: fork}, tailOf(chain...)); text(entries) != "there there" {
		t.Errorf("again: %s, %v", text(entries), err)
	}
}
