package region

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func (a *author) show(p timeline.Position) []byte {
	return a.control(&timeline.Control{Op: timeline.OpDelay, Shown: p})
}

// cut ends the history at p, of which the author knows the chain.
func (a *author) cut(p timeline.Position, chain timeline.Chain) []byte {
	s := a.machine.State()
	reigns := timeline.UpTo(s.Reigns, p)
	return a.control(&timeline.Control{
		Op: timeline.OpCut, At: s.Cursor.Position, Epoch: s.Cursor.Epoch,
		Origin: &timeline.Origin{Cursor: timeline.Cursor{
			Epoch: timeline.Latest(reigns).Epoch, Position: p, Chain: chain,
		}},
		Claim: &timeline.Reign{Epoch: s.Cursor.Epoch + 1, Primary: s.Region},
	})
}

// A delayed region has everything at once, and shows it when it is told to; primary, it shows all of it.
func TestADelayedRegionHasMoreThanItShows(t *testing.T) {
	p, a := volatilePlace(t, "eu"), newAuthor(t, "eu")
	p.apply(a.begin(1, "us"), a.frame("a", "b"), a.show(0), a.frame("c", "d"))
	p.apply(a.frame("e"), a.control(&timeline.Control{Op: timeline.OpSlots}))
	want := func(has, shown timeline.Position, commands ...string) {
		t.Helper()
		v := p.seen.View()
		if v.State.Cursor.Position != has || v.Shown.Position != shown || !slices.Equal(p.commands(), commands) {
			t.Errorf("has %d, shows %d: %q", v.State.Cursor.Position, v.Shown.Position, p.commands())
		}
	}
	want(5, 2, "a", "b")
	p.apply(a.show(3)) // within a frame
	want(5, 2, "a", "b")
	if index, err := p.Sync(); err != nil || index != 3 {
		t.Errorf("the log is needed from behind entry %d, %v", index, err)
	}
	p.apply(a.show(4))
	want(5, 4, "a", "b", "c", "d")
	p.wants = true
	p.apply(a.begin(2, "eu"), a.frame("f"))
	want(6, 6, "a", "b", "c", "d", "e", "f")
	if last := p.told[len(p.told)-1]; len(last.Results) != 1 || string(last.Results[0]) != "did f" {
		t.Errorf("the first write of its own reign: %+v", last)
	}
	if len(p.engine.Content().Reigns) != 2 {
		t.Error("the storage did not hear of the reign")
	}
}

// What stands behind a cut is saved, and in no storage, whole frames and the part of one.
func TestACutEndsWithinAFrame(t *testing.T) {
	p, a := volatilePlace(t, "eu"), newAuthor(t, "eu")
	p.apply(a.begin(1, "us"), a.frame("a"), a.show(0), a.frame("b", "c", "d"))
	at := a.machine.Cursor()
	f := timeline.Frame{Epoch: 1, First: 2, Previous: timeline.Chain{}, Commands: []timeline.Command{
		{Data: []byte("b")}, {Data: []byte("c")},
	}}
	if h, ok := timeline.ReadHeader(p.log.entries[3].GetData()); ok {
		f.Previous = h.Previous
	}
	p.apply(a.frame("deleted everything"), a.cut(3, timeline.NewFolder().Frame(&f)))
	if got := p.commands(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("commands %q", got)
	}
	if len(p.saved) != 1 || p.saved[0].Fork != 3 || p.saved[0].At != at.Position+1 {
		t.Errorf("saved %+v", p.saved)
	}
	if b := p.log.base(); b.Index != 6 || b.Position != 3 {
		t.Errorf("the log is told of %+v", b)
	}
	p.apply(a.begin(2, "eu"), a.frame("again"))
	if got := p.commands(); !slices.Equal(got, []string{"a", "b", "c", "again"}) {
		t.Errorf("commands %q", got)
	}
}

// broken is an engine of which a write fails.
type broken struct {
	*enginetest.Engine
	left int // writes that do not fail
}

var errBroken = errors.New("no more")

func (b *broken) Apply(batch *contract.Batch) ([][]byte, error) {
	if b.left--; b.left < 0 {
		return nil, errBroken
	}
	return b.Engine.Apply(batch)
}

func (b *broken) Begin(r contract.Reign, m *contract.Metadata) error {
	if b.left--; b.left < 0 {
		return errBroken
	}
	return b.Engine.Begin(r, m)
}

// story is a log of a delayed region, drawn from a seed.
type story struct {
	*author
	rng    *rand.Rand
	chains []timeline.Chain // behind each position, 0 on
	log    []*raftpb.Entry
	shown  timeline.Position
	ends   []timeline.Position // of frames
}

func (s *story) add(payload []byte) {
	s.log = append(s.log, &raftpb.Entry{Index: new(uint64(len(s.log) + 1)), Term: new(uint64(1)), Data: payload})
}

func (s *story) step() {
	at := s.machine.Cursor()
	switch n := s.rng.IntN(12); {
	case n < 5:
		var values []string
		c := at.Chain
		for i := range 1 + s.rng.IntN(3) {
			v := fmt.Sprintf("%d.%d", len(s.log), i)
			c = timeline.NewFolder().Command(c, []byte(v))
			values, s.chains = append(values, v), append(s.chains, c)
		}
		s.add(s.frame(values...))
		s.ends = append(s.ends, s.machine.Cursor().Position)
	case n < 8:
		if s.shown < at.Position {
			s.shown += 1 + timeline.Position(s.rng.IntN(int(at.Position-s.shown)))
		}
		s.add(s.show(s.shown))
	case n == 8:
		s.add(s.control(&timeline.Control{Op: timeline.OpSlots, Slots: []timeline.Slot{{Region: "ap"}}}))
	case n == 9:
		s.add(s.begin(at.Epoch+1, "us"))
		s.chains[at.Position] = s.machine.Cursor().Chain
	case n == 10 && s.shown < at.Position:
		to := s.shown + timeline.Position(s.rng.IntN(int(at.Position-s.shown)))
		s.add(s.cut(to, s.chains[to]))
		s.shown, s.chains = to, s.chains[:to+1]
	default:
		s.log = append(s.log, &raftpb.Entry{
			Index: new(uint64(len(s.log) + 1)), Term: new(uint64(1)), Type: raftpb.EntryConfChangeV2.Enum(),
		})
	}
}

// tell delivers entries to a place, from one on, some at a time.
func (s *story) tell(p *place, from uint64, atOnce int) error {
	for entries := s.log[from:]; len(entries) > 0; {
		n := 0
		for n < min(len(entries), atOnce) && entries[n].GetType() == raftpb.EntryNormal {
			n++
		}
		var err error
		if n == 0 {
			n = 1
			err = p.ApplyConf(entries[0], &raftpb.ConfChangeV2{}, &raftpb.ConfState{Voters: []uint64{entries[0].GetIndex()}})
		} else {
			err = p.Apply(entries[:n])
		}
		if err != nil {
			return err
		}
		if err := p.valid(); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

func (s *story) place(e *enginetest.Engine, storage contract.Storage) *place {
	p := newPlace(s.t, "eu", memory(), e, storage)
	p.log.entries, p.log.last = s.log, uint64(len(s.log))
	for _, e := range s.log {
		p.log.terms[e.GetIndex()] = 1
	}
	return p.load()
}

// Nodes of a delayed region come to one state, however often they stop between two writes to the storage.
func TestADelayedRegionAppliesTheSameOverRestarts(t *testing.T) {
	for seed := range uint64(30) {
		s := &story{author: newAuthor(t, "eu"), rng: rand.New(rand.NewPCG(seed, 0)), chains: []timeline.Chain{{}}}
		s.add(s.begin(1, "us"))
		s.chains[0] = s.machine.Cursor().Chain
		s.add(s.show(0))
		for range 40 {
			s.step()
		}
		calm := enginetest.Volatile()
		p := s.place(calm, calm)
		if err := s.tell(p, 0, 100); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		e := enginetest.Volatile()
		var q *place
		for {
			q = s.place(e, &broken{e, s.rng.IntN(12)})
			err := s.tell(q, q.index, 1+s.rng.IntN(4))
			if err == nil {
				break
			}
			if !errors.Is(err, errBroken) {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		v, w := p.seen.View(), q.seen.View()
		if !slices.Equal(p.commands(), q.commands()) || v.Shown != w.Shown || !reflect.DeepEqual(v.State, w.State) {
			t.Fatalf("seed %d: %q at %+v, %+v\nrestarted: %q at %+v, %+v", seed, p.commands(), v.Shown, v.State,
				q.commands(), w.Shown, w.State)
		}
		if v.State.Cursor != s.machine.Cursor() || v.Shown.Position > s.shown {
			t.Fatalf("seed %d: at %+v, shows %+v; the author is at %+v, shows %d", seed, v.State.Cursor, v.Shown,
				s.machine.Cursor(), s.shown)
		}
	}
}
