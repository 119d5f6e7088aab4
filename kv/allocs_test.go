package kv

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/replication"
)

// limits are how often the hot path of the store may allocate memory. They are what it does, rounded up to what a
// version of Go or of Pebble may add: whoever comes above one has made every put or get dearer, on any machine.
const (
	mostOfAPut   = 4 // in a batch of rangeOfAlloc
	mostOfAGet   = 2 // of a key that was written a short time ago
	mostOfAKey   = 1 // of a range, beside what the answer itself costs
	rangeItself  = 32
	rangeOfAlloc = 100 // keys
)

// TestTheHotPathAllocatesLittle: allocations are not noise.
func TestTheHotPathAllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	n := newNode(t)
	commands := make([][]byte, rangeOfAlloc)
	for i := range commands {
		commands[i] = put(string(benchKey(nil, uint64(i))), "value")
	}
	n.apply(commands...)
	batch := &replication.Batch{First: n.metadata.Position + 1, Metadata: &n.metadata, WantResults: true}
	for _, c := range commands {
		batch.Commands = append(batch.Commands, replication.Command{Data: c})
	}
	key := benchKey(nil, 7)
	one := &pb.RangeRequest{Key: key}
	many := &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}
	for _, c := range []struct {
		name string
		most float64
		do   func() error
	}{
		{"a get", mostOfAGet, func() error { _, err := n.Range(t.Context(), one); return err }},
		{"a range", rangeItself + mostOfAKey*rangeOfAlloc, func() error {
			_, err := n.Range(t.Context(), many)
			return err
		}},
		{"a batch of puts", mostOfAPut * rangeOfAlloc, func() error {
			batch.First = n.metadata.Position + 1
			n.metadata.Position += rangeOfAlloc
			n.metadata.AppliedIndex++
			_, err := n.Apply(batch)
			return err
		}},
	} {
		got := testing.AllocsPerRun(50, func() {
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %v allocations, at most %v", c.name, got, c.most)
		if got > c.most {
			t.Errorf("%s: %v allocations, at most %v", c.name, got, c.most)
		}
	}
}
