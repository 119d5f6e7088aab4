package kv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// What changed or was made last is found from the newest revisions back also where revisions jumped meanwhile, however
// few there were since: by no walk over all keys, and not with one look after the other at the same few changes.
func TestTheNewestFromBeforeAGap(t *testing.T) {
	n := newNode(t)
	const keys, since, limit = 20_000, 40, 10
	commands := make([][]byte, 0, keys)
	for i := range keys {
		commands = append(commands, put(numbered("k/", i*7919%keys), "v"))
	}
	n.apply(commands...)
	if err := n.Begin(replication.Reign{Epoch: 1, Lossy: true}, &n.metadata); err != nil {
		t.Fatal(err)
	}
	commands = commands[:0]
	for i := range since {
		commands = append(commands, put(numbered("l/", i), "v"))
	}
	n.apply(commands...)
	settle(t, n.Store)
	for _, target := range []pb.RangeRequest_SortTarget{pb.RangeRequest_MOD, pb.RangeRequest_CREATE} {
		q := &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("m"), Limit: since + limit, SortTarget: target,
			SortOrder: pb.RangeRequest_DESCEND}
		got, err := n.Range(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for i, kv := range got.Kvs {
			want := numbered("l/", since-1-i)
			if i >= since {
				want = numbered("k/", (keys-1-i+since)*7919%keys)
			}
			if string(kv.Key) != want {
				t.Fatalf("by %v number %d is %s, want %s", target, i, kv.Key, want)
			}
		}
		// Each look is at the changes since, which are read once, key by key.
		if steps, most := steps(t, n.Store, q), 16*(since+limit); steps > most {
			t.Errorf("by %v it takes %d steps, want no more than %d, of %d keys", target, steps, most, keys)
		}
	}
}

// What was made last is found in as many steps as it has keys also behind any number of changes, and where nothing can
// be read any more of how it was made.
func TestWhatWasMadeLastBehindManyChanges(t *testing.T) {
	n := newNode(t)
	const keys, limit = 20_000, 50
	commands := make([][]byte, 0, keys)
	for i := range keys {
		commands = append(commands, put(numbered("k/", i), "v"))
	}
	n.apply(commands...)
	commands = commands[:0]
	for i := range keys { // each once more, scattered
		commands = append(commands, put(numbered("k/", i*7919%keys), "w"))
	}
	n.apply(commands...)
	settle(t, n.Store)
	look := func(q *pb.RangeRequest) {
		t.Helper()
		got, err := n.Range(t.Context(), q)
		if err != nil || got.Count != keys || len(got.Kvs) != limit || !got.More {
			t.Fatalf("%d of %d, more: %t; %v", len(got.Kvs), got.Count, got.More, err)
		}
		for i, kv := range got.Kvs {
			if want := numbered("k/", keys-1-i); string(kv.Key) != want {
				t.Fatalf("number %d is %s, want %s", i, kv.Key, want)
			}
		}
		if steps, most := steps(t, n.Store, q), 16*limit; steps > most {
			t.Errorf("it takes %d steps, want no more than %d, of %d keys", steps, most, keys)
		}
	}
	q := &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0"), Limit: limit,
		SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_DESCEND}
	look(q)
	n.apply(command.EncodeCompaction(&pb.CompactionRequest{Revision: n.Revision()}))
	n.apply(put("l", "v"))
	settle(t, n.Store)
	look(q)
}

// What was made last, of any part of the keys and at any revision, is what all of them have that is newest.
func TestWhatWasMadeLastIsTheNewestOfAll(t *testing.T) {
	n := newNode(t)
	random := rand.New(rand.NewPCG(7, 9))
	key := func() string { return numbered("k/", random.IntN(3000)) }
	for range 60 {
		var commands [][]byte
		for range 200 {
			switch random.IntN(4) {
			case 0:
				commands = append(commands, del(key(), ""))
			default:
				commands = append(commands, put(key(), "v"))
			}
		}
		n.apply(commands...)
		if random.IntN(2) == 0 {
			settle(t, n.Store)
		}
		q := &pb.RangeRequest{Key: []byte(key()), RangeEnd: []byte("l"), SortTarget: pb.RangeRequest_CREATE,
			SortOrder: pb.RangeRequest_DESCEND, Revision: n.Revision() - random.Int64N(200)}
		for _, bound := range []*int64{&q.MinModRevision, &q.MinCreateRevision, &q.MaxCreateRevision} {
			switch random.IntN(16) {
			case 0, 1, 2:
				*bound = 1 + random.Int64N(n.Revision())
			case 3:
				*bound = []int64{math.MinInt64, -1, math.MaxInt64}[random.IntN(3)]
			}
		}
		all, err := n.Range(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		q.Limit = 1 + random.Int64N(40)
		some, err := n.Range(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		same := func(a, b *mvccpb.KeyValue) bool { return proto.Equal(a, b) }
		want := all.Kvs[:min(int(q.Limit), len(all.Kvs))]
		if some.Count != all.Count || !slices.EqualFunc(some.Kvs, want, same) {
			t.Fatalf("%v:\n%v, of %d\nwant %v, of %d", q, some.Kvs, some.Count, want, all.Count)
		}
	}
}

// What is gone is stepped over where what was made last is looked for, though it was made, and went, later than that.
func TestWhatWasMadeLastAmongWhatIsGone(t *testing.T) {
	const keys = 20_000
	n := newNode(t)
	n.apply(put("k/3", "v"), put("k/4/010000/x", "v"), put("k/6", "v"))
	fill := make([][]byte, 0, keys)
	for i := range keys {
		fill = append(fill, put(numbered("k/4/", i), "v"))
	}
	n.apply(fill...)
	n.apply(del("k/4/", "k/4/010000"), del("k/4/010000/y", "k/40"), del("k/4/010000", ""))
	settle(t, n.Store)
	q := &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0"), Limit: 1, SortTarget: pb.RangeRequest_CREATE,
		SortOrder: pb.RangeRequest_DESCEND}
	got, err := n.Range(t.Context(), q)
	if err != nil || got.Count != 3 || len(got.Kvs) != 1 || string(got.Kvs[0].Key) != "k/6" {
		t.Fatalf("%v, %v", got, err)
	}
	if steps := steps(t, n.Store, q); steps > keys/8 {
		t.Errorf("it takes %d steps, over %d keys that are gone", steps, keys)
	}
	answer := n.apply(txnOf(opRange(q)))
	txn, err := command.DecodeTxnResult(answer[0])
	if err != nil || !proto.Equal(txn.Responses[0].GetResponseRange().Kvs[0], got.Kvs[0]) {
		t.Errorf("in a transaction: %v, %v", txn, err)
	}
}

// At a revision behind which keys began to exist everywhere nothing is known of where one did last before, and what was
// made last is found by the changes up to there, as few as they are.
func TestWhatWasMadeLastBeforeMuchWasMade(t *testing.T) {
	const keys = 20_000
	n := newNode(t)
	var commands [][]byte
	for i := range keys {
		commands = append(commands, put(numbered("k/", i*7919%keys), "v"))
	}
	for i := range 4000 { // one of twenty is made
		name := numbered("k/", i*104729%keys)
		if i%20 == 0 {
			name += "/new"
		}
		commands = append(commands, put(name, "w"))
	}
	n.apply(commands...)
	rev := n.Revision()
	commands = commands[:0]
	for i := range 4000 {
		commands = append(commands, put(numbered("k/", i*7*5)+"/later", "v"))
	}
	n.apply(commands...)
	settle(t, n.Store)
	q := &pb.RangeRequest{Key: []byte("k/"), RangeEnd: []byte("k0"), Revision: rev, Limit: 10,
		SortTarget: pb.RangeRequest_CREATE, SortOrder: pb.RangeRequest_DESCEND}
	got, err := n.Range(t.Context(), q)
	if err != nil || len(got.Kvs) != 10 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, kv := range got.Kvs {
		if want := rev - 19 - 20*int64(i); kv.CreateRevision != want {
			t.Errorf("number %d, %s, was made at %d, want %d", i, kv.Key, kv.CreateRevision, want)
		}
	}
	if steps := steps(t, n.Store, q); steps > keys/4 {
		t.Errorf("it takes %d steps, of %d keys", steps, keys)
	}
}

func numbered(prefix string, i int) string { return fmt.Sprintf("%s%06d", prefix, i) }
