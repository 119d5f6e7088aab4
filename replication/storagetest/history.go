package storagetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// event is one command, or the beginning of an epoch.
type event struct {
	data  []byte
	reign *contract.Reign
}

// history is a sequence of events that replicas apply up to some place each.
type history struct {
	suite    Suite
	events   []event
	contents [][]byte // behind each event, of a replica that applied one at a time; nil until they are asked for
}

// newHistory returns the history of the suite's seed: n commands, and now and then a beginning.
func newHistory(s Suite, n int) *history {
	r := rand.New(rand.NewPCG(s.Seed, 0))
	h := &history{suite: s}
	epoch := contract.Epoch(1)
	h.events = append(h.events, event{reign: &contract.Reign{Epoch: epoch, First: 1, Primary: "here"}})
	for position := contract.Position(1); int(position) <= n; position++ {
		h.events = append(h.events, event{data: s.Command(r)})
		if r.IntN(20) == 0 {
			epoch++
			h.events = append(h.events, event{reign: &contract.Reign{
				Epoch: epoch, First: position + 1, Primary: []string{"here", "there"}[epoch%2], Lossy: epoch%3 == 0,
			}})
		}
	}
	return h
}

// metadata describes the place behind the first n events.
func (h *history) metadata(n int) *contract.Metadata {
	m := &contract.Metadata{AppliedIndex: uint64(n), AppliedTerm: 1, Record: []byte("opaque")}
	for _, e := range h.events[:n] {
		if e.reign != nil {
			m.Epoch = e.reign.Epoch
		} else {
			m.Position++
		}
	}
	binary.LittleEndian.PutUint64(m.Chain[:], uint64(n))
	return m
}

// replica is an engine that has applied the first events of a history.
type replica struct {
	Engine
	t       testing.TB
	history *history
	at      int      // events applied
	told    [][]byte // the results of the last Apply, as they came
	results [][]byte // and as they were then
	made    []made
	spoiled bool // it has installed what is damaged
}

func (h *history) replica(t testing.TB) *replica {
	return adopt(t, h, h.suite.New(t), 0)
}

func adopt(t testing.TB, h *history, e Engine, at int) *replica {
	t.Helper()
	if e == nil || e.Storage() == nil {
		t.Fatal("storagetest: New or Crashed returned no engine, or one without a storage")
	}
	r := &replica{Engine: e, t: t, history: h, at: at}
	t.Cleanup(func() {
		if err := e.Close(); err != nil && !r.spoiled {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// apply applies events up to the place to, in batches of at most size commands, and returns the commands' results.
func (r *replica) apply(to, size int) [][]byte {
	r.t.Helper()
	var results [][]byte
	for r.at < to {
		if reign := r.history.events[r.at].reign; reign != nil {
			r.at++
			if err := r.Storage().Begin(*reign, r.history.metadata(r.at)); err != nil {
				r.t.Fatalf("Begin epoch %d: %v", reign.Epoch, err)
			}
			continue
		}
		results = append(results, r.batch(min(to, r.at+size))...)
	}
	return results
}

// batch applies the commands up to the place to, or to the next beginning.
func (r *replica) batch(to int) [][]byte {
	r.t.Helper()
	from := r.at
	b, to := r.history.batch(from, to-from)
	r.at, b.WantResults = to, true
	results, err := r.Storage().Apply(b)
	if err != nil {
		r.t.Fatalf("Apply %d commands at position %d: %v", len(b.Commands), b.First, err)
	}
	if len(results) != len(b.Commands) {
		r.t.Fatalf("Apply returned %d results for %d commands", len(results), len(b.Commands))
	}
	if err := r.history.unchanged(b, from); err != nil {
		r.t.Fatal(err)
	}
	r.sameResults()
	r.told, r.results = results, nil
	for _, result := range results {
		r.results = append(r.results, slices.Clone(result))
	}
	scribble(b)
	r.sameResults()
	return r.results
}

// sameResults checks that the results of the last Apply are still what they were.
func (r *replica) sameResults() {
	r.t.Helper()
	for i, result := range r.told {
		if !bytes.Equal(result, r.results[i]) {
			r.t.Fatalf("result %d of an Apply, %.1000q, is %.1000q later on", i, r.results[i], result)
		}
	}
}

// batch returns the commands from the place at on, at most size of them and none behind the next beginning, and the
// place behind them. Now and then a Raft entry ended between two.
func (h *history) batch(at, size int) (b *contract.Batch, to int) {
	before := h.metadata(at)
	b = &contract.Batch{Epoch: before.Epoch, First: before.Position + 1}
	for to = at; to-at < size && to < len(h.events) && h.events[to].reign == nil; to++ {
		if m := h.metadata(to); to > at && to%3 == 0 {
			b.Cuts = append(b.Cuts, contract.Cut{
				Commands: to - at, Index: m.AppliedIndex, Term: m.AppliedTerm, Chain: m.Chain,
			})
		}
		b.Commands = append(b.Commands, contract.Command{Data: slices.Clone(h.events[to].data)})
	}
	b.Metadata = h.metadata(to)
	return b, to
}

// unchanged returns nil if b, of the place at on, is what it was when it was given to the storage.
func (h *history) unchanged(b *contract.Batch, at int) error {
	was, _ := h.batch(at, len(b.Commands))
	for i, c := range was.Commands {
		if !bytes.Equal(b.Commands[i].Data, c.Data) {
			return fmt.Errorf("Apply changed the command %.1000q of its batch to %.1000q", c.Data, b.Commands[i].Data)
		}
	}
	if !equal(was.Metadata, b.Metadata) || !slices.Equal(was.Cuts, b.Cuts) {
		return fmt.Errorf("Apply changed the metadata %+v or the cuts %+v of its batch to %+v, %+v", was.Metadata,
			was.Cuts, b.Metadata, b.Cuts)
	}
	return nil
}

// scribble spoils a batch that the storage must not have kept.
func scribble(b *contract.Batch) {
	for _, c := range b.Commands {
		for i := range c.Data {
			c.Data[i] ^= 0xff
		}
	}
	clear(b.Commands)
	clear(b.Cuts)
}

// loaded returns the metadata that the storage holds.
func (r *replica) loaded() *contract.Metadata {
	r.t.Helper()
	m, err := r.Storage().Load()
	if err != nil {
		r.t.Fatalf("Load: %v", err)
	}
	return m
}

// contents returns what the storage holds.
func (r *replica) contents() []byte {
	r.t.Helper()
	c, err := r.Contents()
	if err != nil {
		r.t.Fatalf("contents: %v", err)
	}
	return c
}

// check holds the replica against one that applied the same events one at a time.
func (r *replica) check(what string) {
	r.t.Helper()
	if m, want := r.loaded(), r.history.metadata(r.at); r.at > 0 && !equal(m, want) {
		r.t.Fatalf("%s: metadata %+v, want %+v", what, m, want)
	}
	r.checkContents(what)
}

func (r *replica) checkContents(what string) {
	r.t.Helper()
	if got, want := r.contents(), r.history.reference(r.t)[r.at]; !bytes.Equal(got, want) {
		r.t.Fatalf("%s: contents after %d events:\n%.2000q\nanother replica holds\n%.2000q", what, r.at, got, want)
	}
}

// reference returns what a replica holds behind each event.
func (h *history) reference(t testing.TB) [][]byte {
	t.Helper()
	if h.contents == nil {
		r := h.replica(t)
		h.contents = append(h.contents, r.contents())
		for r.at < len(h.events) {
			r.apply(r.at+1, 1)
			h.contents = append(h.contents, r.contents())
		}
		if bytes.Equal(h.contents[0], h.contents[len(h.events)]) {
			t.Fatalf("storagetest: Contents is the same before and after %d events: the suite sees nothing",
				len(h.events))
		}
	}
	return h.contents
}

func equal(a, b *contract.Metadata) bool { return reflect.DeepEqual(a, b) }
