package region

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func volatilePlace(t *testing.T, name string) *place {
	e := enginetest.Volatile()
	return newPlace(t, name, memory(), e, e).load()
}

func TestCommandsApplyOnceAndInOrder(t *testing.T) {
	p, a := volatilePlace(t, "us"), newAuthor(t, "us")
	first, one, two := a.begin(1, "us"), a.frame("a", "b"), a.frame("c")
	p.apply(first, one)
	p.wants = true
	p.apply(one, two, nil) // once more, on, and a leader's first entry
	if got := p.commands(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("commands %q", got)
	}
	var outcomes []timeline.Outcome
	for i, o := range p.told {
		outcomes = append(outcomes, o.Outcome)
		if o.Index != uint64(i+1) || o.Term != 1 {
			t.Errorf("outcome %d of entry %d of term %d", i, o.Index, o.Term)
		}
	}
	applied, skipped := timeline.Applied, timeline.Skipped
	if want := []timeline.Outcome{applied, applied, skipped, applied, applied}; !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %v", outcomes)
	}
	if p.told[1].Results != nil || len(p.told[3].Results) != 1 || string(p.told[3].Results[0]) != "did c" {
		t.Errorf("results %q and %q", p.told[1].Results, p.told[3].Results)
	}
	p.apply() // nothing
	again := []*raftpb.Entry{{Index: new(uint64(2)), Term: new(uint64(1)), Data: one}}
	if err := p.Apply(again); err != nil || len(p.commands()) != 3 {
		t.Errorf("an entry that was applied: %v, %d commands", err, len(p.commands()))
	}
}

func TestMembersAreSavedWithTheConfiguration(t *testing.T) {
	p := volatilePlace(t, "us")
	e := p.enter(1, nil)[0]
	learner := raftpb.ConfChangeType_ConfChangeAddLearnerNode
	change := &raftpb.ConfChangeV2{
		Changes: []*raftpb.ConfChangeSingle{{Type: learner.Enum(), NodeId: new(uint64(7))}},
		Context: []byte(`{"ID":7,"Name":"us-7"}`),
	}
	if err := p.ApplyConf(e, change, &raftpb.ConfState{Voters: []uint64{1}, Learners: []uint64{7}}); err != nil {
		t.Fatal(err)
	}
	p.check()
	index, _, conf := p.Applied()
	members := p.seen.State().Members
	if index != 1 || len(conf.GetLearners()) != 1 || len(members) != 1 || members[0].Name != "us-7" ||
		!members[0].Learner {
		t.Errorf("entry %d, members %v, %+v", index, conf, members)
	}
	if p.engine.Content().Meta.AppliedIndex != 1 {
		t.Error("the change is not in the storage")
	}
}

// gate has an engine dwell where it writes views out.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate(e *enginetest.Engine) *gate {
	g := &gate{make(chan struct{}, 8), make(chan struct{})}
	e.Writing = func() {
		g.entered <- struct{}{}
		<-g.open
	}
	return g
}

// TestApplyingGoesOnWhileTheStateIsWrittenOut: whoever takes a copy, its writing stops nobody, and what is written is
// the state of before.
func TestApplyingGoesOnWhileTheStateIsWrittenOut(t *testing.T) {
	ways := map[string]func(p *place) (write func() error, dir string){
		"a copy for another node": func(p *place) (func() error, string) {
			h, err := p.Hold("/copy")
			if err != nil {
				t.Fatal(err)
			}
			return h.Write, "/copy"
		},
		"a checkpoint of Raft": func(p *place) (func() error, string) {
			c, err := p.Checkpoint("/copy")
			if err != nil || c.Index != 2 || c.Term != 1 {
				t.Fatalf("%+v, %v", c, err)
			}
			return c.Draft.Write, "/copy"
		},
		"what is kept of a volatile storage": func(p *place) (func() error, string) {
			return func() error {
				index, err := p.Sync()
				if err == nil && index != 2 {
					err = errors.New("durable up to another entry")
				}
				return err
			}, dataDir + "/snapshots/2"
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				e := enginetest.Volatile()
				g := newGate(e)
				p, a := newPlace(t, "us", memory(), e, e).load(), newAuthor(t, "us")
				p.apply(a.begin(1, "us"), a.frame("a", "b"))
				write, dir := way(p)
				written := make(chan error, 1)
				go func() { written <- write() }()
				<-g.entered
				for range 3 {
					p.apply(a.frame("later"))
				}
				if len(p.commands()) != 5 || len(written) != 0 {
					t.Fatalf("%d commands, %d written", len(p.commands()), len(written))
				}
				close(g.open)
				if err := <-written; err != nil {
					t.Fatal(err)
				}
				other := enginetest.Volatile()
				q := newPlace(t, "us", p.fs, other, other)
				index, _, _, err := q.Install(dir)
				if err != nil || index != 2 || !slices.Equal(q.commands(), []string{"a", "b"}) {
					t.Errorf("entry %d, commands %q, %v", index, q.commands(), err)
				}
				if e.Views() != 0 {
					t.Errorf("%d views left open", e.Views())
				}
			})
		})
	}
}

// TestViewsEndBeforeTheStateIsReplaced: what was being written is given up, waited for, and no error of the node.
func TestViewsEndBeforeTheStateIsReplaced(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		fs := memory()
		plain := enginetest.Volatile()
		source, a := newPlace(t, "us", fs, plain, plain).load(), newAuthor(t, "us")
		first, frame := a.begin(1, "us"), a.frame("a", "b")
		source.apply(first, frame, a.frame("c"))
		source.copyHere("/newer")

		e := enginetest.Volatile()
		p := newPlace(t, "us", fs, e, e).load()
		p.apply(first, frame)
		g := newGate(e)
		held, err := p.Hold("/older")
		if err != nil {
			t.Fatal(err)
		}
		idle, err := p.Hold("/idle")
		if err != nil {
			t.Fatal(err)
		}
		written, synced, installed := make(chan error, 1), make(chan uint64, 1), make(chan error, 1)
		go func() { written <- held.Write() }()
		go func() {
			index, err := p.Sync()
			if err != nil {
				t.Error(err)
			}
			synced <- index
		}()
		<-g.entered
		<-g.entered
		go func() {
			_, _, _, err := p.Install("/newer")
			installed <- err
		}()
		virtual.Wait()
		if len(installed) != 0 || len(p.commands()) != 2 {
			t.Fatal("the state was replaced while views were open")
		}
		close(g.open)
		if err := <-written; !errors.Is(err, copies.ErrReplaced) {
			t.Errorf("a copy of a state that was replaced: %v", err)
		}
		if index := <-synced; index != 0 {
			t.Errorf("durable up to %d, and nothing was kept", index)
		}
		virtual.Wait()
		if len(installed) != 0 {
			t.Error("replaced under a view that nobody writes")
		}
		if err := idle.Write(); !errors.Is(err, copies.ErrReplaced) {
			t.Errorf("a copy that was begun before: %v", err)
		}
		if err := <-installed; err != nil {
			t.Fatal(err)
		}
		p.check()
		if got := p.commands(); !slices.Equal(got, []string{"a", "b", "c"}) || e.Views() != 0 {
			t.Errorf("commands %q, %d views", got, e.Views())
		}
		if index, err := p.Sync(); index != 3 || err != nil {
			t.Errorf("durable up to %d, %v", index, err)
		}
	})
}

func TestAStateOfAnotherRegionOrOfThePastIsRefused(t *testing.T) {
	fs := memory()
	e := enginetest.Volatile()
	eu, a := newPlace(t, "eu", fs, e, e).load(), newAuthor(t, "eu")
	eu.apply(a.begin(1, "eu"), a.frame("x"))
	eu.copyHere("/eu")
	e = enginetest.Volatile()
	us, a := newPlace(t, "us", fs, e, e).load(), newAuthor(t, "us")
	us.apply(a.begin(1, "us"))
	us.copyHere("/past")
	us.apply(a.frame("a"))
	for _, dir := range []string{"/eu", "/past"} {
		if _, _, _, err := us.Install(dir); !errors.Is(err, contract.ErrIdentity) {
			t.Errorf("%s: %v", dir, err)
		}
		us.check()
		if got := us.commands(); !slices.Equal(got, []string{"a"}) || us.passed != 0 {
			t.Errorf("%s: commands %q, passed over %d times", dir, got, us.passed)
		}
	}
	if _, _, _, err := us.Install("/nowhere"); err == nil {
		t.Error("a copy that is not there was installed")
	}
}

// cutting keeps the metadata of all places at which a batch may be cut.
type cutting struct {
	*enginetest.Engine
	seen []contract.Metadata
}

func (c *cutting) Apply(b *contract.Batch) ([][]byte, error) {
	for _, at := range b.Cuts {
		c.seen = append(c.seen, *b.MetadataAt(at))
	}
	c.seen = append(c.seen, *b.Metadata)
	return c.Engine.Apply(b)
}

// TestACutIsWhereAnEntryEnded: a storage that stops there has what it had if it was given that entry alone.
func TestACutIsWhereAnEntryEnded(t *testing.T) {
	var places [2]*cutting
	for i := range places {
		a := newAuthor(t, "us")
		c := &cutting{Engine: enginetest.Volatile()}
		p := newPlace(t, "us", memory(), c.Engine, c).load()
		p.apply(a.begin(1, "us"))
		frames := [][]byte{a.frame("a", "b"), a.frame("c"), a.frame("d", "e")}
		if i == 0 {
			p.apply(frames...)
		} else {
			for _, f := range frames {
				p.apply(f)
			}
		}
		places[i] = c
	}
	if together, alone := places[0].seen, places[1].seen; len(together) != 3 || !reflect.DeepEqual(together, alone) {
		t.Errorf("%+v\nand each alone %+v", together, alone)
	}
}

// What is of a later level than a node stops it before anything of it is applied, in an entry and in a state.
func TestNothingOfALaterLevelIsApplied(t *testing.T) {
	placed := timeline.Reign{Epoch: 1, First: 1, Primary: "us", Lossy: true, Place: 1}
	control := func(c *timeline.Control) []byte {
		p, err := timeline.EncodeControl(c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, test := range map[string]struct {
		level timeline.Level
		entry []byte
	}{
		"places":  {timeline.LevelFirst, timeline.AppendReign(nil, placed)},
		"keep":    {timeline.LevelPlaces, control(&timeline.Control{Op: timeline.OpKeep})},
		"ballots": {timeline.LevelKeep, control(&timeline.Control{Op: timeline.OpEnrol, Identity: timeline.Nonce{1}})},
		"policy": {timeline.LevelBallots, control(&timeline.Control{
			Op: timeline.OpCharter, Charter: &timeline.Charter{Failback: time.Minute},
		})},
		"users": {timeline.LevelPolicy, timeline.AppendFrame(nil, &timeline.Frame{
			Epoch: 1, First: 1, Commands: []timeline.Command{{Data: []byte("c")}}, Level: timeline.LevelUsers,
		})},
	} {
		t.Run(name, func(t *testing.T) {
			old, now := volatilePlace(t, "us"), volatilePlace(t, "us")
			old.config.Level = test.level
			if err := old.Apply(old.enter(1, test.entry)); !errors.Is(err, timeline.ErrVersion) {
				t.Errorf("a node of level %d: %v", test.level, err)
			}
			if got := old.machine.State(); got.Cursor != (timeline.Cursor{}) || got.Level() != timeline.LevelFirst {
				t.Errorf("applied: %+v", got)
			}
			if err := now.Apply(now.enter(1, test.entry)); err != nil {
				t.Errorf("a node of today: %v", err)
			}
		})
	}
	us := volatilePlace(t, "us")
	us.apply(timeline.AppendReign(nil, placed))
	old := newPlace(t, "us", us.fs, us.engine, us.engine)
	old.config.Level = timeline.LevelFirst
	if _, err := old.Load(&timeline.State{Region: "us"}); !errors.Is(err, timeline.ErrVersion) {
		t.Errorf("a state of a later level: %v", err)
	}
}
