package schedule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// region is where those are who come to a place: in a history that comes a position further each second.
type region struct {
	alone  bool    // no other region is known to share it
	reigns []Reign // nil: one
	began  time.Time
	behind time.Duration // the others are
}

// here returns where in a history a region is.
func (p *place) here(history string) Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		p.began = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	at := Place{History: history, Reigns: p.reigns}
	if at.Reigns == nil {
		at.Reigns = []Reign{{Epoch: 1, First: 1, Chain: "1a" + history}}
	}
	at.Position = timeline.Position(time.Since(p.began) / time.Second)
	at.Chain = fmt.Sprintf("%s-%d", at.Reigns[len(at.Reigns)-1].Chain, at.Position)
	if !p.alone {
		at.Shared = at.Position - timeline.Position(p.behind/time.Second)
	}
	return at
}

// goesOn has the region be alone, or not, with these reigns, in a history that began then.
func (p *place) goesOn(alone bool, reigns []Reign, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.region = region{alone: alone, reigns: reigns, began: began}
}

// areBehind has the others be heard, and behind.
func (p *place) areBehind(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alone, p.behind = false, by
}

// contentAt is that of one which says it.
func contentAt(p Place) string {
	text, _ := json.Marshal(p)
	return whole + string(text) + content()[len(whole)+len(text):]
}

// whereIs reads it.
func whereIs(r io.Reader) (*Place, error) {
	begin := make([]byte, len(whole)+1)
	if _, err := io.ReadFull(r, begin); err != nil {
		return nil, err
	}
	switch string(begin) {
	case whole + "x":
		return nil, nil
	case whole + "{":
		p := new(Place)
		return p, json.NewDecoder(io.MultiReader(strings.NewReader("{"), r)).Decode(p)
	}
	return nil, errors.New("torn")
}

// hours lets some pass. Who begins a quarter past, where nothing is due, ends there.
func hours(t *testing.T, n int) {
	t.Helper()
	time.Sleep(time.Duration(n) * time.Hour)
	virtual.Wait()
}

// A primary that is cut off for long keeps what it had before, whoever leads it by then, and under other settings. Once
// it is heard again all that is there is one history.
func TestWhatIsTakenAlonePushesOutNoneOfBefore(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		plan := Plan{Every: time.Hour, Keep: 2}
		n := run(t, p, "-a", plan)
		defer func() { n.stop() }()
		is := func(want string, spared int) {
			t.Helper()
			hours(t, 4)
			if r := n.Report(); p.names() != want || r.Spared != spared || r.Apart.IsZero() != (spared == 0) {
				t.Errorf("%s, %d spared since %v, want %s and %d", p.names(), r.Spared, r.Apart, want, spared)
			}
		}
		time.Sleep(15 * time.Minute)
		is("01T03:00:00-a 01T04:00:00-a", 0)
		p.goesOn(true, nil, time.Time{})
		is("01T03:00:00-a 01T04:00:00-a 01T07:00:00-a 01T08:00:00-a", 2)
		former := n
		former.stop()
		n = runAfter(t, former.Keeper, p, "-a", plan)
		is("01T03:00:00-a 01T04:00:00-a 01T11:00:00-a 01T12:00:00-a", 2)
		n.stop()
		n = run(t, p, "-b", plan) // that knows nothing
		is("01T03:00:00-a 01T04:00:00-a 01T15:00:00-b 01T16:00:00-b", 2)
		p.goesOn(false, nil, time.Time{})
		is("01T19:00:00-b 01T20:00:00-b", 0)
	})
}

// A region that is heard again, and far behind, makes nothing of what it does not have go by what is older; once it has
// caught up all is one history.
func TestWhoIsFarBehindPushesOutNothing(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 2})
		defer n.stop()
		is := func(behind time.Duration, want string, spared int) {
			t.Helper()
			p.areBehind(behind)
			hours(t, 4)
			if r := n.Report(); p.names() != want || r.Spared != spared || r.Failure != "" {
				t.Errorf("%s, %d spared, want %s and %d, %s", p.names(), r.Spared, want, spared, r.Failure)
			}
		}
		time.Sleep(15 * time.Minute)
		is(0, "01T03:00:00-a 01T04:00:00-a", 0)
		p.goesOn(true, nil, time.Time{})
		hours(t, 4)
		is(8*time.Hour, "01T03:00:00-a 01T04:00:00-a 01T11:00:00-a 01T12:00:00-a", 2)
		is(90*time.Minute, "01T13:00:00-a 01T14:00:00-a 01T15:00:00-a 01T16:00:00-a", 2)
		is(0, "01T19:00:00-a 01T20:00:00-a", 0)
	})
}

// What a region took of what it gives up neither counts any more nor goes, and pushes out nothing of before the fork.
func TestWhatWasGivenUpPushesOutNothing(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 3})
		defer n.stop()
		time.Sleep(15 * time.Minute)
		hours(t, 4)
		fork := p.here("")
		p.goesOn(true, nil, time.Time{})
		hours(t, 4)
		const before, given = "01T02:00:00-a 01T03:00:00-a 01T04:00:00-a", "01T06:00:00-a 01T07:00:00-a 01T08:00:00-a"
		if got := p.names(); got != before+" "+given {
			t.Fatalf("%s", got)
		}
		p.goesOn(false, append(fork.Reigns, Reign{2, fork.Position + 1, "2b"}), time.Time{})
		time.Sleep(time.Hour)
		virtual.Wait()
		want := "01T03:00:00-a 01T04:00:00-a " + given + " 01T09:00:00-a"
		if r := n.Report(); p.names() != want || r.Count != 3 || r.Astray != 3 || r.Spared != 0 {
			t.Errorf("%s, %+v", p.names(), r)
		}
		hours(t, 4)
		want = given + " 01T11:00:00-a 01T12:00:00-a 01T13:00:00-a"
		if r := n.Report(); p.names() != want || r.Count != 3 || r.Astray != 3 {
			t.Errorf("%s, %+v", p.names(), r)
		}
	})
}

// The same snapshot restored once more under the same name has the same beginning: what the first life took beyond it
// is not pushed out by what the second one takes, however far that comes, and whoever takes it.
func TestASecondLifePushesOutNothingOfTheFirst(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		p.goesOn(false, nil, time.Now().Add(-time.Minute))
		plan := Plan{Every: time.Hour, Keep: 2}
		n := run(t, p, "-a", plan)
		time.Sleep(15 * time.Minute)
		hours(t, 4)
		n.stop()
		const first = "01T03:00:00-a 01T04:00:00-a"
		if got := p.names(); got != first {
			t.Fatalf("%s", got)
		}
		p.goesOn(false, nil, time.Now().Add(-time.Minute))
		for _, one := range []struct{ node, want string }{
			{"-b", first + " 01T07:00:00-b 01T08:00:00-b"}, {"-c", first + " 01T11:00:00-c 01T12:00:00-c"},
			{"-d", first + " 01T15:00:00-d 01T16:00:00-d"},
		} {
			n := run(t, p, one.node, plan)
			hours(t, 4)
			n.stop()
			if r := n.Report(); p.names() != one.want || r.Count != 2 || r.Astray != 2 {
				t.Errorf("%s, want %s, %+v", p.names(), one.want, r)
			}
		}
	})
}

// What a version before took does not say where it is: it stays until as many as are kept were taken that do.
func TestWhatDoesNotSayWhereItIs(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		for i := range 3 {
			when := time.Now().Add(time.Duration(6*i-18) * time.Hour)
			p.objects[Name("f", "us", "-old", "", when)] = content()
		}
		n := run(t, p, "-a", Plan{Every: 6 * time.Hour, Keep: 2})
		defer n.stop()
		time.Sleep(time.Hour)
		virtual.Wait()
		const old = "31T06:00:00-old 31T12:00:00-old 31T18:00:00-old"
		if r := n.Report(); p.names() != old+" 01T00:00:00-a" || r.Count != 4 {
			t.Errorf("%s, %+v", p.names(), r)
		}
		time.Sleep(6 * time.Hour)
		virtual.Wait()
		if r := n.Report(); p.names() != "01T00:00:00-a 01T06:00:00-a" || r.Count != 2 {
			t.Errorf("%s, %+v", p.names(), r)
		}
	})
}

// What a node took that was found to differ neither counts nor goes, nor lets others go; also once it was rebuilt.
func TestWhatANodeTookThatDiffers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}, differs: "-x"}
		for i, node := range []string{"-o", "-x", "-x"} {
			when := time.Now().Add(time.Duration(i-2) * time.Hour)
			p.objects[Name("f", "us", node, "", when)] = contentAt(p.here(""))
		}
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 2})
		defer n.stop()
		time.Sleep(15 * time.Minute)
		virtual.Wait()
		const doubted = "31T23:00:00-x 01T00:00:00-x"
		if r := n.Report(); p.names() != "31T22:00:00-o 31T23:00:00-x 01T00:00:00-a 01T00:00:00-x" || r.Count != 2 ||
			r.Doubted != 2 {
			t.Errorf("%s, %+v", p.names(), r)
		}
		p.mu.Lock()
		p.differs = ""
		p.mu.Unlock()
		hours(t, 4)
		if r := n.Report(); p.names() != doubted+" 01T03:00:00-a 01T04:00:00-a" || r.Count != 2 || r.Doubted != 2 {
			t.Errorf("%s, %+v", p.names(), r)
		}
	})
}
