package events

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// page is what a node tells, a second apart from begin on.
func page(node string, begin time.Duration, list ...replication.Event) Page {
	p := Page{Node: node}
	for i, e := range list {
		p.Events = append(p.Events, Record{
			Seq: uint64(i + 1), At: noon.Add(begin + time.Duration(i)*time.Second), Event: e,
		})
	}
	return p
}

func epoch(n int, learned bool) replication.Event {
	return replication.Event{
		ID: "epoch/" + string(rune('0'+n)), Kind: replication.EventEpoch, Epoch: replication.Epoch(n), Learned: learned,
	}
}

func names(list []Told) (names []string) {
	for _, e := range list {
		names = append(names, cmpText(&Record{Event: e.Event}))
	}
	return names
}

func TestOneDecisionIsToldOnce(t *testing.T) {
	list := Merge([]Page{
		page("us-1", 0, epoch(1, false), saw("a"), epoch(2, false)),
		page("eu-1", 500*time.Millisecond, epoch(1, false), epoch(2, false), saw("b")),
		page("us-2", time.Hour, epoch(1, true), epoch(2, true)),
	})
	if got, want := names(list), []string{"epoch/1", "a", "epoch/2", "b"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	first := list[0]
	if len(first.By) != 3 || first.By[0].Node != "eu-1" || !first.At.Equal(noon) || first.Learned {
		t.Fatalf("%+v", first)
	}
}

// TestAClockThatIsWrongPutsNothingBeforeItsCause: the node whose clock is an hour behind saw epoch 2 before it led.
func TestAClockThatIsWrongPutsNothingBeforeItsCause(t *testing.T) {
	list := Merge([]Page{
		page("us-1", 0, epoch(1, false), epoch(2, false)),
		page("eu-1", -time.Hour, epoch(2, true), saw("leads")),
	})
	if got, want := names(list), []string{"epoch/1", "epoch/2", "leads"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	if !list[2].OutOfTime || list[1].OutOfTime {
		t.Fatalf("%+v", list)
	}
}

// TestEachNodeKeepsItsOrder however wrong clocks are, and epochs rise.
func TestEachNodeKeepsItsOrder(t *testing.T) {
	for seed := range uint64(200) {
		dice := rand.New(rand.NewPCG(seed, 1))
		var pages []Page
		for _, node := range []string{"a", "b", "c"} {
			var list []replication.Event
			next := 1
			for range 12 {
				if next < 6 && dice.IntN(2) == 0 {
					list = append(list, epoch(next, dice.IntN(3) == 0))
					next++
				} else {
					list = append(list, saw(node+string(rune('a'+len(list)))))
				}
			}
			pages = append(pages, page(node, time.Duration(dice.IntN(40)-20)*time.Second, list...))
		}
		list := Merge(pages)
		place := map[string]int{}
		for i, name := range names(list) {
			if _, twice := place[name]; twice {
				t.Fatalf("seed %d: %s is told twice", seed, name)
			}
			place[name] = i
		}
		for _, p := range pages {
			for i, e := range p.Events {
				for _, o := range p.Events[i+1:] {
					both := e.ID != "" && o.ID != ""
					if (o.ID == "" || both) && place[cmpText(&e)] > place[cmpText(&o)] {
						t.Fatalf("seed %d: %s saw %s before %s: %q", seed, p.Node, cmpText(&e), cmpText(&o),
							names(list))
					}
				}
			}
		}
	}
}
