package recall

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestWhatManyKnowIsSaidOnce: an operator reads one line, however many found the disk out.
func TestWhatManyKnowIsSaidOnce(t *testing.T) {
	c := NewCheck(Config{Node: "us-2", Disk: Own{Disk: Disk{Starts: 2}}, Last: 6})
	err := first([]error{
		c.judge(Answer{Node: "us-1", Seen: Seen{Starts: 1, Index: 6}}),
		c.judge(Answer{Node: "us-3", Match: 8}),
		c.judge(Answer{Node: "eu-1", Seen: Seen{Starts: 1, Index: 111}}),
	})
	if err == nil || strings.Count(err.Error(), contract.ErrDiskLost.Error()) != 1 ||
		strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "entry 8 ") {
		t.Errorf("says %v", err)
	}
	if err := first([]error{nil, nil}); err != nil {
		t.Error(err)
	}
}

// TestWhoWasLeftOutComesWithAnEmptyDisk, or with one that is of the region as it was formed without it.
func TestWhoWasLeftOutComesWithAnEmptyDisk(t *testing.T) {
	region := Part{Formed: map[uint64]string{1: "a", 2: "b"}, Left: []uint64{3}}
	for name, c := range map[string]struct {
		id  uint64
		own Part
		of  bool
	}{
		"empty":                          {3, Part{Blank: "c"}, true},
		"joined":                         {3, Part{Formed: map[uint64]string{1: "a", 2: "b"}}, true},
		"with all, by one that heard it": {3, Part{Formed: map[uint64]string{1: "a", 2: "b", 3: "c"}}, true},
		"of an older life":               {3, Part{Formed: map[uint64]string{1: "x", 2: "y", 3: "c"}}, false},
		"of a former version":            {3, Part{}, false},
		"another node":                   {4, Part{}, true},
	} {
		own := Own{Disk: Disk{Starts: 2}}
		check := NewCheck(Config{ID: c.id, Node: "us-3", Region: "us", Disk: own, Last: 6, Part: c.own})
		err := check.judge(Answer{Node: "us-1", Part: &region})
		if (err == nil) != c.of || !c.of && (!errors.Is(err, contract.ErrDiskLost) ||
			!strings.Contains(err.Error(), "us was formed without us-3, says us-1")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := NewMemory()
	m.Note(1, Said{Disk{"a", 1, "x"}, 4, ""})
	m.Note(1, Said{Disk{"a", 2, "y"}, 3, ""})
	m.Note(2, Said{Disk{"b", 1, "x"}, 2, ""})
	if at := [2]uint64{m.Furthest([]uint64{1, 2}), m.Furthest([]uint64{3})}; at != [2]uint64{4, 0} {
		t.Errorf("remembers %d", at)
	}
}

// TestHowFarTheRegionAgreed is learnt of its own nodes, of which the one that knows most counts, also where it is not
// where it was, and of no others: none of another region, and none of an older life of this one.
func TestHowFarTheRegionAgreed(t *testing.T) {
	network := memory.NewNetwork(clock.Real, 1)
	life := map[uint64]string{1: "a", 2: "b"}
	for name, committed := range map[string]uint64{"us-1": 7, "us-3": 9, "us-4": 0, "us-5": 50, "eu-1": 100} {
		part := Part{Formed: life}
		if name == "us-5" {
			part.Formed = map[uint64]string{1: "x", 2: "y"}
		}
		at := network.Node(name)
		questions := peer.NewRegistry(func() error { return nil }, nil)
		Register(questions, "us", name, NewMemory(), func(uint64, uint64) (uint64, Log) {
			return 0, Log{Ends: committed + 3, Committed: committed, CommittedTerm: min(committed, 2)}
		}, func(context.Context, Question) Part { return part })
		if err := at.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
			t.Fatal(err)
		}
		defer at.Close()
	}
	asks := network.Node("us-2")
	defer asks.Close()
	agreed, at := new(Agreed), []string{"us-1", "us-3-before", "us-4", "us-5"}
	c := NewCheck(Config{ID: 5, Node: "us-2", Region: "us", Disk: Own{Disk: Disk{Starts: 2}}, Last: 6,
		Part: Part{Formed: life}, Siblings: func() []string { return at }, Others: []string{"eu-1"},
		Agreed: agreed, Timeout: time.Minute, Clock: clock.Real, Client: peer.NewClient(asks)})
	upTo := func() uint64 {
		index, _ := agreed.UpTo()
		return index
	}
	if err := c.Ask(t.Context()); err != nil || upTo() != 7 || !slices.Equal(c.left, []string{"us-3-before"}) {
		t.Errorf("agreed up to %d, without answers %q: %v", upTo(), c.left, err)
	}
	at = append(at, "us-3") // where it is found then
	if err := c.Ask(t.Context()); err != nil || upTo() != 9 || agreed.old != 0 || len(c.left) != 1 {
		t.Errorf("agreed up to %d, without answers %q: %v", upTo(), c.left, err)
	}
}

// TestWhoLedATermBeforeDoesNotSayWhatADiskHeld: a leader that is deposed, and has not heard of it, remembers entries
// that were never agreed on, and that a later one had this node replace. One of this node's term or a later one, and
// one of a version that does not say which it leads, is believed.
func TestWhoLedATermBeforeDoesNotSayWhatADiskHeld(t *testing.T) {
	c := NewCheck(Config{Node: "us-2", Disk: Own{Disk: Disk{Starts: 2}}, Last: 91, Term: 6})
	for name, a := range map[string]struct {
		log  *Log
		lost bool
	}{
		"deposed": {&Log{Leads: 5}, false}, "of this term": {&Log{Leads: 6}, true}, "later": {&Log{Leads: 7}, true},
		"of a version before": {nil, true},
	} {
		err := c.judge(Answer{Node: "us-1", Match: 100, Log: a.log})
		if errors.Is(err, contract.ErrDiskLost) != a.lost || err != nil != a.lost {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestANodeOfAnotherRegionIsNoSibling: it is at an address where a sibling was, and has its name. It says nothing of
// that, and whoever is there is asked again.
func TestANodeOfAnotherRegionIsNoSibling(t *testing.T) {
	network := memory.NewNetwork(clock.Real, 1)
	for addr, region := range map[string]string{"10.0.0.1": "us", "10.0.0.3": "eu"} {
		at := network.Node(addr)
		questions := peer.NewRegistry(func() error { return nil }, nil)
		Register(questions, region, "n1", NewMemory(), func(uint64, uint64) (uint64, Log) {
			return 0, Log{Committed: 9, CommittedTerm: 4}
		}, func(context.Context, Question) Part { return Part{Formed: map[uint64]string{1: region}} })
		if err := at.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
			t.Fatal(err)
		}
		defer at.Close()
	}
	asks := network.Node("10.0.0.2")
	defer asks.Close()
	for addr, region := range map[string]string{"10.0.0.1": "us", "10.0.0.3": "eu"} {
		said, agreed := map[string]string{}, new(Agreed)
		c := NewCheck(Config{ID: 2, Node: "n2", Region: "us", Disk: Own{Disk: Disk{Starts: 2}}, Last: 9,
			Part: Part{Formed: map[uint64]string{1: region}}, Siblings: func() []string { return []string{addr} },
			Answered: func(addr, node string, p Part) { said[addr] = node + " " + p.Formed[1] },
			Ground:   Ground{Number: func(string) uint64 { return 1 }},
			Agreed:   agreed, Timeout: time.Minute, Clock: clock.Real, Client: peer.NewClient(asks)})
		if err := c.Ask(t.Context()); err != nil {
			t.Fatal(err)
		}
		upTo, _ := agreed.UpTo()
		own := region == "us"
		if own != (said[addr] == "n1 us") || own != (upTo == 9) || own == (len(c.left) == 1) ||
			own != (len(agreed.Lacks([]uint64{1})) == 0) || own != (c.Formed().Formed != nil) {
			t.Errorf("%s: said %v, agreed up to %d, to be asked again %v", region, said, upTo, c.left)
		}
	}
}

// TestOfWhichLifeASiblingIs: where neither knows how the region was formed they are of one, unless one of them was
// empty when it started.
func TestOfWhichLifeASiblingIs(t *testing.T) {
	formed := func(disks ...string) Part {
		p := Part{Formed: map[uint64]string{}}
		for i, disk := range disks {
			p.Formed[uint64(i)] = disk
		}
		return p
	}
	for name, c := range map[string]struct {
		own     Part
		sibling *Part
		alike   bool
	}{
		"formed together":        {formed("a", "b"), new(formed("a", "c")), true},
		"formed apart":           {formed("a", "b"), new(formed("b", "a")), false},
		"both came later":        {Part{}, new(Part{}), true},
		"one came later":         {formed("a", "b"), new(Part{}), false},
		"the other came later":   {Part{}, new(formed("a", "b")), false},
		"of a version before":    {Part{}, nil, false},
		"empty":                  {Part{Blank: "a"}, new(Part{}), false},
		"empty, beside an empty": {Part{Blank: "a"}, new(Part{Blank: "b"}), false},
	} {
		if NewCheck(Config{Part: c.own}).alike(c.sibling) != c.alike {
			t.Errorf("%s: alike %t", name, !c.alike)
		}
	}
}

// TestWhoJoinsIsToldHowTheRegionWasFormed by those who know it, unless they are of several lives of it, or few.
func TestWhoJoinsIsToldHowTheRegionWasFormed(t *testing.T) {
	one, other := map[uint64]string{1: "a", 2: "b"}, map[uint64]string{1: "x", 2: "y"}
	of := map[string]bool{"us-1": true, "us-2": true, "us-3": true}
	for name, c := range map[string]struct {
		said []Part
		want map[uint64]string
	}{
		"nobody knows":    {nil, nil},
		"some know":       {[]Part{{Formed: one, Left: []uint64{3, 4}}, {Formed: map[uint64]string{1: "a"}}}, one},
		"of several ones": {[]Part{{Formed: one}, {Formed: other}}, nil},
		"one alone says":  {[]Part{{Formed: other}}, nil},
	} {
		p := (&Check{config: Config{ID: 4}, formed: c.said, of: of}).Formed()
		if !maps.Equal(p.Formed, c.want) || c.want != nil && !slices.Equal(p.Left, []uint64{3}) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

// TestWhatWasAgreedOnLastCounts: of two histories that of the later term is the region's. Of what is said without a
// term the last one counts, and nothing is known of its term.
func TestWhatWasAgreedOnLastCounts(t *testing.T) {
	type entry struct{ index, term uint64 }
	for _, c := range []struct {
		said []entry
		want entry
	}{
		{nil, entry{}},
		{[]entry{{9, 4}, {7, 4}, {5, 3}}, entry{9, 4}},
		{[]entry{{9, 4}, {7, 5}}, entry{7, 5}},
		{[]entry{{7, 5}, {9, 4}}, entry{7, 5}},
		{[]entry{{7, 5}, {9, 0}, {8, 0}}, entry{9, 0}},
		{[]entry{{7, 5}, {6, 0}}, entry{7, 5}},
	} {
		a := new(Agreed)
		for _, e := range c.said {
			a.note(Entry{Index: e.index, Term: e.term})
		}
		if index, term := a.UpTo(); (entry{index, term}) != c.want {
			t.Errorf("said %v: entry %d of term %d, want %v", c.said, index, term, c.want)
		}
	}
}
