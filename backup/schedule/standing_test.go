package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// history makes the place at a position of a history of reigns: "1a:1 2b:501" is one of which epoch 1 begins with
// position 1 and the chain 1a, and epoch 2 with position 501 and the chain 2b. An end "+" is a place that is shared,
// and "+600" one that is so up to there.
func history(t testing.TB, text string, position timeline.Position) *Place {
	t.Helper()
	text, upTo, shared := strings.Cut(text, "+")
	p := &Place{Position: position}
	if shared {
		p.Shared = position
	}
	if upTo != "" {
		if _, err := fmt.Sscan(upTo, &p.Shared); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range strings.Fields(text) {
		var r Reign
		name, first, _ := strings.Cut(one, ":")
		if _, err := fmt.Sscanf(name[:1]+" "+first, "%d %d", &r.Epoch, &r.First); err != nil {
			t.Fatal(err)
		}
		r.Chain = name
		p.Reigns = append(p.Reigns, r)
	}
	if len(p.Reigns) > 0 {
		last := p.Reigns[len(p.Reigns)-1]
		p.History, p.Chain = p.Reigns[0].Chain, fmt.Sprintf("%s-%d", last.Chain, position)
	}
	return p
}

// Where a backup is, beside where the region is, tells what it is to it.
func TestWhatABackupIs(t *testing.T) {
	const fork = "1a:1 2b:501" // eu was forced, behind 500
	for name, c := range map[string]struct {
		at       string
		position timeline.Position
		here     string // at 1000
		want     Standing
	}{
		"of the history":             {"1a:1+", 700, "1a:1", Own},
		"here":                       {"1a:1+", 1000, "1a:1", Own},
		"here, and something else":   {"1a:1 ", 1000, "1a:1", Astray},
		"further":                    {"1a:1+", 1001, "1a:1", Astray},
		"before the fork":            {"1a:1+", 499, fork, Own},
		"at the fork":                {"1a:1+", 500, fork, Own},
		"given up":                   {"1a:1+", 501, fork, Astray},
		"given up long ago":          {"1a:1+", 501, fork + " 3c:900", Astray},
		"behind the fork":            {fork + "+", 500, fork, Own},
		"a reign that was given up":  {"1a:1 2x:401+", 450, fork, Astray},
		"one of the same epoch":      {"1a:1 2x:501+", 600, fork, Astray},
		"a reign that is to come":    {fork + "+", 600, "1a:1", Astray},
		"nonsense":                   {fork + "+", 17, fork, Astray},
		"of another history":         {"1z:1+", 700, "1a:1", Foreign},
		"alone":                      {"1a:1", 700, "1a:1", Alone},
		"alone once, and others now": {"1a:1", 700, "1a:1+", Own},
		"it does not say":            {"", 0, "1a:1+", Unplaced},
		"it is not known here":       {"1a:1+", 700, "", Unplaced},
		"of before what is known":    {"1a:1+", 700, "2b:501", Unplaced},
	} {
		b := Backup{Name: "b", At: at(t, "26T00:00"), Region: "us", Place: history(t, c.at, c.position)}
		here := *history(t, c.here, 1000)
		if c.at != "" && c.here != "" {
			b.History = b.Place.History
		}
		if strings.HasPrefix(name, "of before") {
			here.History = b.History
		}
		if strings.HasSuffix(c.at, " ") {
			b.Place.Chain = "another"
		}
		got, returns := Stand("us", here, []Backup{b}, at(t, "26T01:00"))
		if got[0].Standing != c.want || (len(returns) > 0) != (name == "further") {
			t.Errorf("%s: %v, %v, want %v", name, got[0].Standing, returns, c.want)
		}
		got, _ = Stand("eu", here, []Backup{b}, at(t, "26T01:00"))
		if got[0].Standing != Elsewhere {
			t.Errorf("%s, of another region: %v", name, got[0].Standing)
		}
	}
}

// series returns backups of each hour at places.
func series(t testing.TB, reigns string, positions ...timeline.Position) (all []Backup) {
	t.Helper()
	for i, p := range positions {
		when := time.Date(2026, 11, 26, i, 0, 0, 0, time.UTC)
		all = append(all, Backup{Name: Name("f", "us", "us-1", "1a", when), At: when, Region: "us", History: "1a",
			Place: history(t, reigns, p)})
	}
	return all
}

func standings(ranked []Ranked) (list []Standing) {
	for _, r := range ranked {
		list = append(list, r.Standing)
	}
	return list
}

// What is shared at a place is so before it. What was taken after that is alone, whoever looks: also one who began a
// moment ago.
func TestWhatWasTakenAloneIsSoForEverybody(t *testing.T) {
	all := series(t, "1a:1", 100, 200, 300, 400)
	all[1].Place.Shared = 200
	now := at(t, "26T05:00")
	got, _ := Stand("us", *history(t, "1a:1", 500), all, now)
	if want := []Standing{Own, Own, Alone, Alone}; !slices.Equal(standings(got), want) {
		t.Errorf("%v, want %v", standings(got), want)
	}
	got, _ = Stand("us", *history(t, "1a:1+", 500), all, now)
	if want := []Standing{Own, Own, Own, Own}; !slices.Equal(standings(got), want) {
		t.Errorf("heard again: %v, want %v", standings(got), want)
	}
	got, _ = Stand("us", *history(t, "1a:1+150", 500), all, now) // by who comes from far behind
	if want := []Standing{Own, Own, Alone, Alone}; !slices.Equal(standings(got), want) {
		t.Errorf("heard again, and far behind: %v, want %v", standings(got), want)
	}
	all[3].Place.Shared = 300 // more than half had come as far when the last one was taken
	got, _ = Stand("us", *history(t, "1a:1", 500), all, now)
	if want := []Standing{Own, Own, Own, Alone}; !slices.Equal(standings(got), want) {
		t.Errorf("as a note says: %v, want %v", standings(got), want)
	}
}

// The same snapshot restored once more under the same name begins with the same reign. What the first life took beyond
// where the second one is at first is not of its history, also when that has come further, and whatever is left by then
// of what the second life took.
func TestASecondLife(t *testing.T) {
	first := series(t, "1a:1+", 100, 200, 300, 400)
	here := *history(t, "1a:1+", 150)
	ranked, returns := Stand("us", here, first, at(t, "26T05:00"))
	astray := []Standing{Own, Astray, Astray, Astray} // the first one both lives have
	if !slices.Equal(standings(ranked), astray) || len(returns) != 1 || returns[0].Position != 150 {
		t.Fatalf("%v, %v", standings(ranked), returns)
	}
	for hour := 5; hour < 20; hour++ {
		b := series(t, "1a:1+", make([]timeline.Position, hour+1)...)[hour]
		b.Place = history(t, "1a:1+", timeline.Position(50*hour))
		b.Place.Returns = returns
		here := *history(t, "1a:1+", timeline.Position(50*hour+10))
		ranked, again := Stand("us", here, append(slices.Clone(first), b), b.At.Add(time.Minute))
		if !slices.Equal(standings(ranked), append(slices.Clone(astray), Own)) || !slices.Equal(again, returns) {
			t.Fatalf("at %d: %v, %v", here.Position, standings(ranked), again)
		}
		returns = again
	}
}

// A new leader that has not applied all yet, or a clock that is a little ahead, is no history that went back.
func TestALittleBehindIsNoReturn(t *testing.T) {
	all := series(t, "1a:1+", 100, 200)
	ranked, returns := Stand("us", *history(t, "1a:1+", 190), all, all[1].At.Add(skew-time.Minute))
	if want := []Standing{Own, Astray}; !slices.Equal(standings(ranked), want) || len(returns) > 0 {
		t.Errorf("%v, %v", standings(ranked), returns)
	}
	all[1].Place.Returns = []Return{{At: all[1].At.Add(skew - time.Minute), Position: 190}}
	ranked, _ = Stand("us", *history(t, "1a:1+", 210), all, all[1].At.Add(time.Hour))
	if want := []Standing{Own, Own}; !slices.Equal(standings(ranked), want) {
		t.Errorf("%v", standings(ranked))
	}
}

// Backups tell by themselves which of them were given up: those that the history with the latest epoch does not have.
func TestGivenUp(t *testing.T) {
	all := append(series(t, "1a:1", 100, 450, 510, 600), series(t, "1a:1 2b:501", 0, 0, 0, 0, 700, 680, 900)[4:]...)
	all = append(all, Backup{Name: "unplaced"}, Backup{Name: "other", History: "1z", Place: history(t, "1z:1", 2000)})
	got := GivenUp(all, at(t, "27T00:00"))
	if want := []string{all[2].Name, all[3].Name}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := GivenUp(all[:4], at(t, "27T00:00")); len(got) > 0 {
		t.Errorf("%v, and nothing tells", got)
	}
}

// A note keeps what it says of a place, however many reigns there were; those of before say nothing.
func TestAPlaceInANote(t *testing.T) {
	var o timeline.Origin
	for i := range 1000 {
		o.Reigns = append(o.Reigns, timeline.Reign{
			Epoch: timeline.Epoch(i + 1), First: timeline.Position(10*i + 1), Primary: "us",
		})
	}
	o.Cursor = timeline.Cursor{Epoch: 1000, Position: 9999, Chain: timeline.Chain{7}}
	p := PlaceOf(o)
	p.Shared = 9999
	for range 100 {
		p.Returns = append(p.Returns, Return{At: at(t, "26T00:00"), Position: 17})
	}
	read := func(place json.RawMessage) (*Place, error) {
		content := append([]byte("MIMIRKV\x01\x08\x00"), make([]byte, 8)...)
		note := snapshot.Note{Fleet: "f", Place: place}.Encode()
		content[10], content[11] = byte(len(note)), byte(len(note)>>8)
		return ReadPlace(bytes.NewReader(append(append(content, "SNAPSHOT"...), note...)))
	}
	got, err := read(p.Encode())
	if err != nil || got.History != p.History || got.Chain != "0700000000000000" || got.Position != 9999 ||
		got.Shared != 9999 || len(got.Reigns) != maxReigns || got.Reigns[maxReigns-1] != p.Reigns[999] ||
		len(got.Returns) != maxReturns {
		t.Errorf("%+v, %v", got, err)
	}
	own := Backup{At: at(t, "26T00:00"), History: p.History, Place: got}
	ranked, _ := Stand("", p, []Backup{own}, own.At)
	if ranked[0].Standing != Own {
		t.Errorf("its own place is %v", ranked[0].Standing)
	}
	if got, err := read(Place{}.Encode()); got != nil || err != nil {
		t.Errorf("no place is %+v, %v", got, err)
	}
	if _, err := ReadPlace(strings.NewReader(strings.Repeat("torn", 100))); err == nil {
		t.Error("what is no backup says where it is")
	}
}
