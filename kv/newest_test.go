package kv

import (
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

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

func numbered(prefix string, i int) string { return fmt.Sprintf("%s%06d", prefix, i) }
