package storagetest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// length is how many commands the histories of the suite have.
const length = 120

func empty(t *testing.T, s Suite) {
	r := newHistory(s, 0).replica(t)
	if m := r.loaded(); m != nil {
		t.Errorf("an empty storage holds %+v", m)
	}
}

// Replicas that cut the same commands into other batches give the same results and hold the same.
func orderAndResults(t *testing.T, s Suite) {
	h := newHistory(s, length)
	one := h.replica(t)
	results := one.apply(len(h.events), 1)
	for _, size := range []int{3, 17, length} {
		other := h.replica(t)
		if got := other.apply(len(h.events), size); !slices.EqualFunc(got, results, bytes.Equal) {
			t.Fatalf("batches of %d commands give %.1000q, single ones %.1000q", size, got, results)
		}
		other.check("in larger batches")
	}
	silent := h.replica(t)
	silent.apply(1, 1) // the first beginning
	b := &contract.Batch{
		Epoch: 1, First: 1, Commands: []contract.Command{{Data: h.events[1].data}}, Metadata: h.metadata(2),
	}
	if _, err := silent.Storage().Apply(b); err != nil {
		t.Fatalf("Apply without results: %v", err)
	}
	silent.at = 2
	silent.check("applied without results")
}

// The metadata of a batch is there when Apply returns; a batch without commands changes nothing else.
func metadata(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	for to := range len(h.events) {
		r.apply(to+1, 1)
		if m, want := r.loaded(), h.metadata(r.at); !equal(m, want) {
			t.Fatalf("after event %d: metadata %+v, want %+v", r.at, m, want)
		}
	}
	before, m := r.contents(), h.metadata(r.at)
	m.AppliedIndex, m.Record = m.AppliedIndex+7, []byte("another record")
	if _, err := r.Storage().Apply(&contract.Batch{Epoch: m.Epoch, First: m.Position + 1, Metadata: m}); err != nil {
		t.Fatalf("Apply without commands: %v", err)
	}
	if got := r.loaded(); !equal(got, m) {
		t.Errorf("metadata %+v, want %+v", got, m)
	}
	if !bytes.Equal(r.contents(), before) {
		t.Error("a batch without commands changed the contents")
	}
}

// What the library does with a batch after Apply has returned is its own business. Every batch of this suite is
// spoiled; here the contents are read late.
func keepsNothing(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	r.apply(len(h.events), 5)
	r.check("after the batches were spoiled")
}

// A beginning is seen in order with the commands, with its metadata, and alike on every replica.
func begin(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	for i, e := range h.events {
		if e.reign != nil {
			r.apply(i+1, length)
			r.check("after a beginning")
		}
	}
}

// After a power cut the storage holds the contents and the metadata of one place, and all that was synced.
func powerCut(t *testing.T, s Suite) {
	h := newHistory(s, length)
	r := h.replica(t)
	random := rand.New(rand.NewPCG(s.Seed, 1))
	synced, volatile := 0, false
	for r.at < len(h.events) {
		r.apply(min(len(h.events), r.at+1+random.IntN(9)), 1+random.IntN(4))
		if random.IntN(3) == 0 {
			switch err := r.Storage().Sync(); {
			case errors.Is(err, contract.ErrVolatile):
				volatile = true
			case err != nil:
				t.Fatalf("Sync: %v", err)
			default:
				synced = r.at
			}
		}
		after := adopt(t, h, r.Crashed(t), 0)
		m := after.loaded()
		switch {
		case m == nil && synced > 0:
			t.Fatalf("nothing is left of %d events that were synced", synced)
		case m == nil:
			continue
		case volatile:
			t.Fatalf("a storage that keeps nothing on disk holds %+v after a power cut", m)
		}
		after.at = int(m.AppliedIndex)
		if after.at < synced || after.at > r.at {
			t.Fatalf("after a power cut: event %d; %d were applied, %d synced", after.at, r.at, synced)
		}
		after.check("after a power cut")
		again(t, after)
	}
}

// again goes on behind a power cut, syncs, and has another: what the first one left half written must not hide what
// comes behind it.
func again(t *testing.T, r *replica) {
	t.Helper()
	r.apply(min(len(r.history.events), r.at+5), 2)
	if err := r.Storage().Sync(); err != nil {
		t.Fatalf("Sync behind a power cut: %v", err)
	}
	after := adopt(t, r.history, r.Crashed(t), r.at)
	after.check("after a second power cut, behind a Sync")
}
