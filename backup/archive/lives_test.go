package archive

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// keep puts segments on a shelf, and returns their links.
func (s *shelf) keep(t *testing.T, segments ...*Segment) (links []Link) {
	t.Helper()
	for _, one := range segments {
		text, l, err := Encode(one)
		if err == nil {
			err = s.Put(t.Context(), l.Name(), strings.NewReader(string(text)))
		}
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, l)
	}
	return links
}

// branches returns those on a shelf.
func (s *shelf) branches(t *testing.T) (all []Branch, broken []Broken) {
	t.Helper()
	all, broken, err := Branches(t.Context(), s, s.links(t))
	if err != nil {
		t.Fatal(err)
	}
	return all, broken
}

// parted are two histories that part behind position 2: given was given up for own.
func parted() (given, own *story) {
	given = newStory().reign(1, "us", false).frame("a", "b").frame("c", "d").frame("e", "f", "g", "h")
	own = newStory().reign(1, "us", false).frame("a", "b").reign(2, "eu", true).frame("C", "D").frame("E", "F", "G")
	return given, own
}

// A snapshot of what was given up is none that the branch in force leads on from, whatever its position is: what was
// pruned by it would be what the others need.
func TestNoBranchLeadsOnFromAnother(t *testing.T) {
	given, own := parted()
	s := newShelf()
	s.keep(t, given.segment(0, 2), given.segment(2, 4), own.segment(2, 4), own.segment(4, 5))
	branches, _ := s.branches(t)
	if len(branches) != 2 || branches[0].Epoch() != 2 {
		t.Fatalf("%+v", branches)
	}
	b, links := &branches[0], s.links(t)
	within := own.at(4) // in the middle of what is archived as one frame
	within.Cursor.Position++
	within.Cursor.Chain = own.folder.Command(within.Cursor.Chain, []byte("E"))
	later := newStory().reign(1, "us", false).frame("a", "b").reign(2, "eu", true).frame("C", "D").frame("E", "F", "G")
	later.frame("more")
	for what, from := range map[string]timeline.Origin{
		"before they part": given.at(2), "on it": own.at(4), "its end": own.at(5), "within a frame": within,
		"what is still to be archived": later.at(6),
	} {
		if err := b.LeadsOn(t.Context(), s, links, from); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	astray := within
	astray.Cursor.Chain[0]++
	for what, from := range map[string]timeline.Origin{
		"given up": given.at(3), "the end of what was": given.at(4), "another command": astray,
	} {
		if err := b.LeadsOn(t.Context(), s, links, from); !errors.Is(err, ErrMissing) ||
			!strings.Contains(err.Error(), "not on this branch") {
			t.Errorf("%s: %v", what, err)
		}
	}
	links = links[:0]
	for _, l := range s.links(t) {
		if l.From.Position > 0 {
			links = append(links, l)
		}
	}
	if err := b.LeadsOn(t.Context(), s, links, own.at(1)); !errors.Is(err, ErrMissing) {
		t.Errorf("before what is archived: %v", err)
	}
}

// Where the end of the branch in force cannot be read, nobody is taken along the one that was given up for it.
func TestWhatIsBrokenPutsNoBranchInForce(t *testing.T) {
	given, own := parted()
	s := newShelf()
	s.keep(t, given.segment(0, 2), given.segment(2, 4))
	end := s.keep(t, own.segment(2, 5))[0].Name()
	s.objects[end][len(s.objects[end])-50] ^= 1
	branches, broken := s.branches(t)
	if len(branches) != 1 || len(broken) != 1 {
		t.Fatalf("%+v, %v", branches, broken)
	}
	if got, err := Choose(branches, broken, 0); !errors.Is(err, ErrBroken) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Choose(branches, broken, 1); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	behind := given.segment(2, 4)
	broken[0].Link = linkOf(&behind.Header, [32]byte{}) // of the same epoch: what is whole ends before it
	if got, err := Choose(branches, broken, 0); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A fleet that was formed anew under its name may have come to an earlier epoch than the one of before, whose branch is
// said to be in force then: by its epoch its own is found, and leads on.
func TestTheBranchOfAFleetFormedAnewIsNamed(t *testing.T) {
	lost := newStory().reign(1, "us", false).frame("a", "b").reign(2, "eu", true).frame("c")
	other := newStory().reign(1, "eu", true).frame("x")
	anew := newStory().reign(1, "us", true).frame("A", "B").frame("C")
	s := newShelf()
	s.keep(t, lost.segment(0, 4), anew.segment(0, 3), other.segment(0, 2))
	branches, broken := s.branches(t)
	from, links := anew.at(2), s.links(t)
	for epoch, want := range map[timeline.Epoch]error{0: ErrMissing, 2: ErrMissing, 1: nil} {
		chosen, err := Choose(branches, broken, epoch)
		if err == nil {
			err = LeadOn(t.Context(), s, links, chosen, from)
		}
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("epoch %d, %d branches: %v", epoch, len(chosen), err)
		}
	}
}

// A fleet that is formed anew under its name archives beside what is there of before, without reading all of that, and
// what is there of both comes back, by a snapshot of either.
func TestFormedAnew(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		before := newStory().reign(1, "us", false)
		var last []Link
		for i := range 40 {
			before.frame(string(put("before", fmt.Sprint(i), 0)))
			last = f.shelf.keep(f.t, before.segment(i+1, i+2))
		}
		f.shelf.keep(f.t, before.segment(0, 1))
		if err := f.shelf.Put(f.t.Context(), headName, strings.NewReader(last[0].Name())); err != nil {
			f.t.Fatal(err)
		}
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("a", "0", 0))
		base := f.image("us")
		f.propose("us", put("a", "1", 0))
		f.archived("us")
		if f.shelf.gets > 8 {
			f.t.Errorf("%d objects were read", f.shelf.gets)
		}
		all, _ := f.shelf.branches(f.t)
		if len(all) != 2 || all[0].Epoch() != 1 || all[1].Epoch() != 1 || !all[1].Apart(&all[0]) {
			f.t.Errorf("%+v", all)
			return
		}
		got, _, err := f.replay(base, 1, Target{Position: us.Health().Position})
		if err != nil {
			f.t.Error(err)
			return
		}
		f.wantSame("anew", got, f.image("us"))
		for _, b := range all {
			if b.Last.Position != 40 {
				continue
			}
			r := &Replay{Store: f.shelf, Links: f.shelf.links(f.t), Branch: b, Until: Target{Position: 40}}
			old := image(nil).open(f.t)
			if at, err := r.Run(f.t.Context(), old); err != nil || at.Revision != 41 {
				f.t.Errorf("of before: %+v, %v", at, err)
			}
			if err := old.Close(); err != nil {
				f.t.Error(err)
			}
		}
	})
}

// A disk that went back, as one that was restored twice of one snapshot, has two histories of one reign: who archives
// does not wait until it comes where the other one ended, and both are there.
func TestADiskWentBack(t *testing.T) {
	inBubble(t, []string{"us"}, func(f *fleet) {
		us := f.nodes["us"]
		us.archive(f.shelf)
		f.until("archiving", func() bool { return us.archiver.Status().Active })
		f.propose("us", put("both", "0", 0))
		f.archived("us")
		disk := us.disk.CrashClone(vfs.CrashCloneCfg{})
		f.propose("us", put("lost", "0", 0))
		f.archived("us")
		lost := f.image("us")
		for i := range 9 {
			f.propose("us", put("lost", fmt.Sprint(i), 0))
			time.Sleep(10 * time.Second)
		}
		f.archived("us")
		first, end := f.image("us"), us.Health().Position
		f.stop("us")
		us.disk = disk
		f.start("us")
		us.archive(f.shelf)
		f.propose("us", put("anew", "0", 0))
		anew := f.image("us")
		f.propose("us", put("anew", "1", 0))
		f.archived("us")
		if all, _ := f.shelf.branches(f.t); len(all) != 2 || us.Health().Position >= end {
			f.t.Errorf("%+v, at position %d of %d", all, us.Health().Position, end)
			return
		}
		got, _, err := f.replay(lost, 1, Target{Position: end})
		if err != nil {
			f.t.Error(err)
			return
		}
		f.wantSame("lost", got, first)
		for range 12 {
			f.propose("us", put("anew", "2", 0))
		}
		f.archived("us")
		if all, _ := f.shelf.branches(f.t); len(all) != 2 {
			f.t.Errorf("it came further: %+v", all)
			return
		}
		if got, _, err = f.replay(anew, 1, Target{Position: us.Health().Position}); err != nil {
			f.t.Error(err)
			return
		}
		f.wantSame("anew", got, f.image("us"))
		if got, _, err = f.replay(lost, 1, Target{Position: end}); err != nil {
			f.t.Error(err)
			return
		}
		f.wantSame("lost still", got, first)
	})
}
