package fleet

import (
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// born returns a node of a life of eu, by the disks with which that was formed, and its configuration.
func born(id uint64, formed map[uint64]string, conf ...uint64) Heard {
	name := "eu-" + string(rune('0'+id))
	h := Heard{Report: Report{Region: "eu", Node: name, ID: id, PeerAddr: name, Formed: formed}, Asked: name}
	for _, c := range conf {
		h.Nodes = append(h.Nodes, Node{ID: c})
		h.Members = append(h.Members, timeline.Member{ID: c, PeerAddr: "eu-" + string(rune('0'+c))})
	}
	return h
}

// leads returns a node as the leader of a term.
func leads(h Heard, term uint64) Heard {
	h.Leader, h.LeaderID, h.Term = true, h.ID, term
	return h
}

func at(h Heard, p timeline.Position) Heard {
	h.Cursor.Position = p
	return h
}

func namesOf(nodes []Heard) (list []string) {
	for i := range nodes {
		list = append(list, nodes[i].Node)
	}
	slices.Sort(list)
	return list
}

// TestOnlyNodesOfTheRegionsOwnLifeSpeakForIt, whatever terms and positions those of another say.
func TestOnlyNodesOfTheRegionsOwnLifeSpeakForIt(t *testing.T) {
	own, alone := map[uint64]string{1: "a", 2: "b", 3: "c"}, map[uint64]string{3: "d"}
	one, two := leads(born(1, own, 1, 2, 3), 4), born(2, own, 1, 2, 3)
	third := at(leads(born(3, alone, 3), 9), 50)
	other := leads(born(4, map[uint64]string{4: "e"}, 4), 9)
	for _, c := range []struct {
		why     string
		nodes   []Heard
		known   map[uint64]string
		speak   []string
		strange []string
		leader  string
		torn    bool
	}{
		{"all of one life", []Heard{one, two}, nil, []string{"eu-1", "eu-2"}, nil, "eu-1", false},
		{"two against one", []Heard{third, one, two}, nil, []string{"eu-1", "eu-2"}, []string{"eu-3"}, "eu-1", false},
		{"more than what was known", []Heard{third, one, two}, alone, []string{"eu-1", "eu-2"}, []string{"eu-3"},
			"eu-1", false},
		{"nobody leads", []Heard{third, born(1, own, 1, 2, 3), two}, nil, []string{"eu-1", "eu-2"}, []string{"eu-3"},
			"", false},
		{"one each, and one names the other", []Heard{third, two}, alone, []string{"eu-2"}, []string{"eu-3"}, "",
			false},
		{"one each, and one is known", []Heard{other, one}, own, []string{"eu-1"}, []string{"eu-4"}, "eu-1", false},
		{"one each, and nothing tells", []Heard{other, one}, nil, []string{"eu-1", "eu-4"}, nil, "", true},
		{"one alone, and no other", []Heard{third}, own, []string{"eu-3"}, nil, "eu-3", false},
		{"who does not say it is heard", []Heard{third, one, two, born(5, nil, 1, 2, 3)}, nil,
			[]string{"eu-1", "eu-2", "eu-5"}, []string{"eu-3"}, "eu-1", false},
		{"nobody says it", []Heard{born(1, nil), leads(born(3, nil), 9)}, own, []string{"eu-1", "eu-3"}, nil, "eu-3",
			false},
		{"who joined knows some disks", []Heard{third, born(2, map[uint64]string{2: "b"}, 1, 2, 3), one}, nil,
			[]string{"eu-1", "eu-2"}, []string{"eu-3"}, "eu-1", false},
	} {
		r := Region{Name: "eu", Nodes: c.nodes}
		for range 2 { // the second time it changes nothing
			r.Separate(c.known)
			if got := namesOf(r.Nodes); !slices.Equal(got, c.speak) {
				t.Errorf("%s: %q speak, want %q", c.why, got, c.speak)
			}
			if got := namesOf(r.Strange); !slices.Equal(got, c.strange) || r.Torn != c.torn {
				t.Errorf("%s: strange %q, torn %t", c.why, got, r.Torn)
			}
			leader := ""
			if l := r.Leader(); l != nil {
				leader = l.Node
			}
			if leader != c.leader {
				t.Errorf("%s: leader %q, want %q", c.why, leader, c.leader)
			}
		}
	}
}

// TestAClaimOfAnotherLifeCounts: what anybody claimed is never claimed again by another.
func TestAClaimOfAnotherLifeCounts(t *testing.T) {
	h := born(3, map[uint64]string{3: "d"}, 3)
	h.Claim = reign(7, "eu")
	v := View{Regions: map[string]Region{"eu": {Name: "eu", Strange: []Heard{h}}}}
	if c := v.Claim(reign(1, "us")); c != reign(7, "eu") {
		t.Errorf("highest claim %+v", c)
	}
}

// TestAPictureHeedsNoOtherLife, in a round, nor of what is heard before a round has ended.
func TestAPictureHeedsNoOtherLife(t *testing.T) {
	own, alone := map[uint64]string{1: "a", 2: "b", 3: "c"}, map[uint64]string{3: "d"}
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	for _, h := range []Heard{leads(born(1, own, 1, 2, 3), 4), born(2, own, 1, 2, 3), at(born(3, alone, 3), 50)} {
		a.set(h.Asked, h.Report)
	}
	watch(t, a, func(w *Watcher) {
		virtual.Wait()
		check := func() {
			t.Helper()
			v, _ := w.View()
			r := v.Regions["eu"]
			if l, f := r.Leader(), r.Furthest(); l == nil || l.Node != "eu-1" || f.Node == "eu-3" {
				t.Errorf("leader %+v, furthest %+v", l, f)
			}
			if got := w.Addresses("eu"); !slices.Equal(got, []string{"eu-1", "eu-2"}) {
				t.Errorf("reached at %q", got)
			}
			if got := namesOf(r.Strange); !slices.Equal(got, []string{"eu-3"}) || r.Record.Node == "eu-3" {
				t.Errorf("strange %q, record %q", got, r.Record.Node)
			}
		}
		check()
		third := leads(born(3, alone, 3), 9)
		w.mu.Lock()
		o := w.watched["eu"]
		w.mu.Unlock()
		w.hear(o, third)
		check()
		a.set("eu-3", third.Report)
		_, changed := w.View()
		<-changed
		check()
	})
}
