package secondary

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A sibling that hangs is waited for a little longer than the majority took, and not for ever.
func TestASiblingThatHangsDoesNotBlockABootstrap(t *testing.T) {
	for _, c := range []struct {
		down, hung []string
		ok         bool
	}{
		{nil, []string{"us-2"}, true},
		{nil, []string{"us-3"}, true},
		{[]string{"us-2"}, []string{"us-3"}, false},
	} {
		virtual.Test(t, func(t *testing.T) {
			f := testFollower(&shelf{down: c.down, hung: c.hung})
			defer f.config.Life.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			began := time.Now()
			got := f.Run(ctx, succession.Effect{Do: succession.Stage, Term: 7, Source: "eu", Copy: "x"})
			if took := time.Since(began); (got.Err == nil) != c.ok || c.ok && took > 2*leastPatience {
				t.Errorf("down %v, hung %v: after %v %v", c.down, c.hung, took, got.Err)
			}
		})
	}
}

// Every node of the source hears where a copy is, as long as the siblings take it.
func TestTheSourceHearsOfACopy(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := &shelf{regions: map[string]string{"eu-1": "eu"}, at: 42}
		f := testFollower(s)
		defer f.config.Life.Close()
		f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
		s.hung = []string{"us-2", "us-3"}
		ctx, cancel := context.WithTimeout(t.Context(), 3*announceEvery-time.Second)
		defer cancel()
		f.Run(ctx, succession.Effect{Do: succession.Stage, Term: 7, Source: "eu", Copy: "x"})
		for _, addr := range []string{"eu-1", "eu-2", "eu-3"} {
			n := 0
			for _, told := range s.told {
				if told == addr+" 42" {
					n++
				}
			}
			if n < 3 {
				t.Errorf("%s was told %v", addr, s.told)
			}
		}
	})
}

// What a leader before had fetched is used by the next one; once: if nothing leads on from it, another is fetched.
func TestACopyThatTheRegionHasIsNotFetchedAgain(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := &shelf{regions: map[string]string{"eu-1": "eu"}, at: 42}
		s.held = &succession.Copy{ID: "held", Origin: timeline.Origin{Cursor: timeline.Cursor{Epoch: 3, Position: 40}}}
		f := testFollower(s)
		defer f.config.Life.Close()
		var got []string
		for range 2 {
			e := f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu", Epoch: 3})
			if e.Err != nil || e.Copy == nil {
				t.Fatalf("%+v", e)
			}
			got = append(got, e.Copy.ID)
		}
		if !slices.Equal(got, []string{"held", "copy of eu-1"}) {
			t.Errorf("got %v", got)
		}
		if w := s.wanted[0]; w.Source != "eu" || w.MinEpoch != 3 || w.Term != 7 || w.After != 0 {
			t.Errorf("wanted %+v", w)
		}
	})
}

// breaking is a shelf whose transfers bring so many bytes each and then break off.
type breaking struct {
	shelf
	bytes []int64
	asked []string
	then  func() // is called when something came; may be nil
	err   error  // why it breaks off; nil: the node is down
}

func (b *breaking) Fetch(
	_ context.Context, addr string, _ timeline.Epoch, _ uint64, _ fitting, progress func(checkpoint.Progress),
) (succession.Copy, error) {
	b.asked = append(b.asked, addr)
	if n := len(b.asked) - 1; addr == "eu-1" && n < len(b.bytes) && b.bytes[n] > 0 {
		progress(checkpoint.Progress{DoneBytes: b.bytes[n], TotalBytes: 100})
		if b.then != nil {
			b.then()
		}
	}
	return succession.Copy{}, cmp.Or(b.err, errDown)
}

// Whoever has the rest of a copy is asked for it first, and nobody else while that leads on: a copy of another node is
// another copy.
func TestTheRestOfACopyIsAskedForWhereThePartCameFrom(t *testing.T) {
	b := &breaking{bytes: []int64{10, 20, 0, 20, 20, 30, 30}}
	f := testFollower(&b.shelf)
	f.config.Copies = b
	for range 6 + maxBroken {
		f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
	}
	n := slices.Index(b.asked, "eu-2")
	if n != 6+maxBroken || !slices.Equal(b.asked[n:], []string{"eu-2", "eu-3"}) {
		t.Errorf("asked %v", b.asked)
	}
}

// Whose copy came and was damaged would give the same again: another node is asked.
func TestWhoGaveADamagedCopyIsNotAskedForTheRest(t *testing.T) {
	b := &breaking{bytes: []int64{10}, err: checkpoint.ErrCorrupt}
	f := testFollower(&b.shelf)
	f.config.Copies = b
	f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
	if len(b.asked) != 3 || b.asked[0] != "eu-1" {
		t.Errorf("asked %v", b.asked)
	}
}

// Whoever has the rest of a copy has it also when the primary has moved; not for a region that has diverged, which
// takes the copy of the new one.
func TestTheRestOfACopyIsAskedForWhenThePrimaryMoved(t *testing.T) {
	for _, diverged := range []*timeline.Divergence{nil, {Fork: 3}} {
		for _, stopped := range []bool{false, true} {
			b := &breaking{bytes: []int64{10, 20}}
			f := followerIn(&b.shelf, timeline.State{Region: "us", Diverged: diverged})
			f.config.Copies = b
			ctx, stop := context.WithCancel(t.Context())
			if stopped {
				b.then = stop
			}
			f.Run(ctx, succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
			stop()
			b.asked = nil
			f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "sa"}) // nobody of it is known
			if asked := len(b.asked) == 1 && b.asked[0] == "eu-1"; asked != (diverged == nil) {
				t.Errorf("diverged %t, stopped %t: asked %v", diverged != nil, stopped, b.asked)
			}
			f.config.Life.Close()
		}
	}
}

// Whoever gives the rest of a copy hears of it, so that the log behind it is kept there: also a region that is neither
// the primary nor to be followed by the roster.
func TestWhoGivesTheRestOfACopyHearsOfIt(t *testing.T) {
	b := &breaking{bytes: []int64{10, 20}}
	f := testFollower(&b.shelf)
	f.config.Copies = b
	defer f.config.Life.Close()
	f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"})
	b.asked, b.told = nil, nil
	f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "sa"}) // nobody of it is known
	if !slices.Equal(b.asked, []string{"eu-1"}) || !slices.Contains(b.told, "eu-1 0") {
		t.Errorf("asked %v, told %v", b.asked, b.told)
	}
}

// hanging is a shelf of which some nodes say nothing: transfer gives them up after a while.
type hanging struct {
	shelf
	asked []string
}

func (h *hanging) Fetch(
	ctx context.Context, addr string, e timeline.Epoch, term uint64, fits fitting,
	progress func(checkpoint.Progress),
) (succession.Copy, error) {
	h.asked = append(h.asked, addr)
	progress(checkpoint.Progress{Stage: checkpoint.Preparing, DoneBytes: 7})
	if slices.Contains(h.hung, addr) {
		select {
		case <-ctx.Done():
			return succession.Copy{}, ctx.Err()
		case <-time.After(checkpoint.Silence):
			return succession.Copy{}, checkpoint.ErrSilent
		}
	}
	return h.shelf.Fetch(ctx, addr, e, term, fits, progress)
}

// A node of the source that hangs is left for the next one, and people are told meanwhile what is waited for. What it
// had made is no part that is here.
func TestANodeOfTheSourceThatHangsDoesNotBlockABootstrap(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		h := &hanging{shelf: shelf{regions: map[string]string{"eu-2": "eu"}, hung: []string{"eu-1"}}}
		f := testFollower(&h.shelf)
		f.config.Copies = h
		defer f.config.Life.Close()
		ended := make(chan succession.Ended, 1)
		go func() { ended <- f.Run(t.Context(), succession.Effect{Do: succession.Fetch, Term: 7, Source: "eu"}) }()
		time.Sleep(checkpoint.Silence / 2)
		const says = "bootstrap: waits for eu-1, which makes a copy: 7 bytes so far; nothing came for 5m0s"
		if following := f.Following(); following == nil || following.Activity != says {
			t.Errorf("says %+v", following)
		}
		if e := <-ended; e.Err != nil || e.Copy == nil || e.Copy.ID != "copy of eu-2" {
			t.Errorf("%+v", e)
		}
		if !slices.Equal(h.asked, []string{"eu-1", "eu-2"}) {
			t.Errorf("asked %v", h.asked)
		}
	})
}
