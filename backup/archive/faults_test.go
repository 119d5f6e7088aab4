package archive

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestFaults: two regions archive to one place at once, puts fail before and after they are done, archivers begin anew,
// the power goes, and the primary moves. What is there in the end leads from the first snapshot to what the nodes have,
// without a gap, and nothing in it was ever overwritten.
func TestFaults(t *testing.T) {
	seeds := uint64(1)
	if os.Getenv("MIMIR_ARCHIVE_SEEDS") != "" {
		seeds = 50
	}
	for seed := range seeds {
		inBubble(t, []string{"us", "eu"}, func(f *fleet) {
			random := rand.New(rand.NewPCG(seed, 1))
			us, eu := f.nodes["us"], f.nodes["eu"]
			for _, n := range f.nodes {
				n.archive(f.shelf)
			}
			f.until("archiving", func() bool { return us.archiver.Status().Active && eu.archiver.Status().Active })
			f.propose("us", put("k", "0", 0))
			f.archived("us")
			base := f.image("us")
			dice := rand.New(rand.NewPCG(seed, 2))
			f.shelf.fails(func(string) (bool, bool) { return dice.IntN(3) > 0, dice.IntN(2) == 0 })
			for i := range 20 {
				name := []string{"us", "eu"}[random.IntN(2)]
				f.propose(name, put(fmt.Sprint("k", i%5), fmt.Sprint(i), 0))
				switch random.IntN(8) {
				case 0:
					f.nodes[name].archive(f.shelf)
				case 1:
					f.kill(name)
					f.start(name)
					f.nodes[name].archive(f.shelf)
				case 2:
					if !us.IsPrimaryRegion() {
						name = "us"
					} else {
						name = "eu"
					}
					_, err := f.nodes[name].Switchover(f.t.Context(), name)
					if err != nil && !errors.Is(err, replication.ErrAlreadyPrimary) &&
						!errors.Is(err, replication.ErrHandoff) && !errors.Is(err, replication.ErrNotReady) {
						f.t.Error(err)
					}
				}
				time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
			}
			f.shelf.fails(nil)
			f.propose("us", put("k", "end", 0))
			f.until("both have all", func() bool { return us.Health().Position == eu.Health().Position })
			f.archived("us")
			f.archived("eu")
			got, _, err := f.replay(base, 0, Target{Position: us.Health().Position})
			if err != nil {
				f.t.Fatal(err)
			}
			f.wantSame(fmt.Sprint("seed ", seed), got, f.image("us"))
			for name, n := range f.nodes {
				if s := n.archiver.Status(); s.Gaps != 0 {
					f.t.Errorf("seed %d: %s left a gap: %+v", seed, name, s.Gap)
				}
			}
			us.archive(nil)
			eu.archive(nil)
			f.damage(random, base)
		})
	}
}

// damage breaks segments one after the other: what is restored is right as long as others hold the same, and then none.
func (f *fleet) damage(random *rand.Rand, base image) {
	f.t.Helper()
	end := Target{Position: f.nodes["us"].Health().Position}
	names := slices.Sorted(maps.Keys(f.shelf.objects))
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	restored := 0
	for _, name := range names[:min(4, len(names))] {
		if name == headName {
			continue
		}
		text := bytes.Clone(f.shelf.objects[name])
		text[random.IntN(len(text))] ^= 1
		if f.shelf.objects[name] = text; random.IntN(2) == 0 {
			delete(f.shelf.objects, name)
		}
		got, at, err := f.replay(base, 0, end)
		if err != nil {
			if !errors.Is(err, ErrBroken) && !errors.Is(err, ErrMissing) {
				f.t.Error(err)
			}
			continue
		}
		restored++
		if at.Cursor.Position != end.Position {
			f.t.Errorf("ends at %d", at.Cursor.Position)
		}
		f.wantSame("after damage", got, f.image("us"))
	}
	f.t.Logf("restored from %d segments, %d times after damage", len(names), restored)
}

// TestAnArchiveOfAnotherFleet is left alone.
func TestAnArchiveOfAnotherFleet(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		s := newStory().reign(1, "us", false).frame("a").segment(0, 2)
		s.Fleet = "other"
		text, l, err := Encode(s)
		if err != nil {
			f.t.Fatal(err)
		}
		f.shelf.objects[l.Name()] = text
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.propose("us", put("k", "0", 0))
		f.until("it says so", func() bool { return us.archiver.Status().Failures > 2 })
		for _, fleet := range []string{"other", "f"} {
			if err := Of(f.shelf, fleet).Put(f.t.Context(), l.Name(), bytes.NewReader(text)); err != nil {
				f.t.Fatal(err)
			}
		}
		if fleets, err := Fleets(f.t.Context(), f.shelf); err != nil || fmt.Sprint(fleets) != "[f other]" {
			f.t.Errorf("%v, %v", fleets, err)
		}
		if _, err := OfOnly(f.t.Context(), f.shelf, ""); !errors.Is(err, ErrMissing) {
			f.t.Errorf("no fleet was named: %v", err)
		}
		own, err := OfOnly(f.t.Context(), f.shelf, "other")
		if err != nil {
			f.t.Fatal(err)
		}
		if links, err := Links(f.t.Context(), own); err != nil || len(links) != 1 || links[0] != l {
			f.t.Errorf("%v, %v", links, err)
		}
		if s := us.archiver.Status(); len(f.shelf.links(f.t)) != 1 || s.Known || s.Behind >= 0 ||
			s.Position != 0 || s.Problem == "" {
			f.t.Errorf("%+v", s)
		}
	})
}
