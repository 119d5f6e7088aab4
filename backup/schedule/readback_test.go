package schedule

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// repair lets everything be done again.
func (p *place) repair() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails, p.tears = nil, false
}

// hourAgo is a place with a whole backup of the hour before.
func hourAgo() (p *place, name string) {
	name = Name("f", "us", "-old", "", time.Now().Add(-time.Hour))
	return &place{objects: map[string]string{name: content()}}, name
}

// A backup that was saved, and cannot be read, does not count, nor does it go; once it can be it does, and is not taken
// again. It is not another matter under other settings.
func TestWhatCannotBeReadBack(t *testing.T) {
	for _, doing := range []string{"get", "cut"} {
		t.Run(doing, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				p, _ := hourAgo()
				p.fail(doing, errors.New("the disk burns"))
				plan := Plan{Every: time.Hour, Keep: 1}
				n := run(t, p, "-a", plan)
				time.Sleep(5 * time.Minute)
				n.stop()
				n = runAfter(t, n.Keeper, p, "-a", plan)
				defer func() { n.stop() }()
				time.Sleep(5 * time.Minute)
				virtual.Wait()
				r := n.Report()
				if !strings.Contains(r.Failure, "does not count until it is read back, which failed") ||
					!strings.Contains(r.Failure, "the disk burns") || r.Done != 0 || r.Due.After(time.Now()) {
					t.Errorf("%+v", r)
				}
				if got := p.names(); got != "31T23:00:00-old 01T00:00:00-a" {
					t.Errorf("there are %s", got)
				}
				p.repair()
				time.Sleep(20 * time.Minute)
				virtual.Wait()
				if r := n.Report(); r.Failure != "" || r.Done != 1 || r.Count != 1 || p.names() != "01T00:00:00-a" {
					t.Errorf("%+v, %s", r, p.names())
				}
			})
		})
	}
}

// While nothing can be read there is one more in each slot, not in each try.
func TestWhatCannotBeReadIsNotSavedOverAndOver(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p, _ := hourAgo()
		p.fail("get", errors.New("the disk burns"))
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 1})
		defer n.stop()
		time.Sleep(150 * time.Minute)
		virtual.Wait()
		if r := n.Report(); r.Failure == "" || r.Done != 0 || len(p.objects) != 4 {
			t.Errorf("%+v, %s", r, p.names())
		}
		p.repair()
		time.Sleep(35 * time.Minute)
		virtual.Wait()
		if r := n.Report(); r.Failure != "" || r.Done < 1 || len(p.objects) != 1 {
			t.Errorf("%+v, %s", r, p.names())
		}
	})
}

// One that was not whole a moment after does not count either where it cannot be deleted, however long it lies there.
func TestWhatIsBrokenAndStaysDoesNotCount(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p, old := hourAgo()
		p.tears = true
		p.fail("delete", errors.New("no right to do that"))
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 1})
		defer n.stop()
		time.Sleep(30 * time.Second)
		virtual.Wait()
		torn := p.names()
		time.Sleep(10 * time.Minute)
		virtual.Wait()
		if r := n.Report(); r.Done != 0 || r.Count != 1 || r.Newest.Name != old || r.Due.After(time.Now()) ||
			!strings.Contains(r.Failure, "not whole a moment after") {
			t.Errorf("%+v, %s", r, p.names())
		}
		p.repair()
		time.Sleep(40 * time.Minute)
		virtual.Wait()
		r := n.Report()
		if r.Failure != "" || r.Done != 1 || r.Count != 1 || r.Newest.Name == old || p.objects[old] != "" ||
			strings.HasSuffix(torn, r.Newest.At.Format("02T15:04:05")+"-a") {
			t.Errorf("%+v, %s", r, p.names())
		}
	})
}

// After a start the newest is read once before it counts: whoever saved it may have died before he read it back.
func TestTheNewestIsReadAfterAStart(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p, old := hourAgo()
		present := Name("f", "us", "-dead", "", time.Now())
		p.objects[present] = strings.Repeat("torn", 136)
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 1})
		time.Sleep(30 * time.Second)
		virtual.Wait()
		r := n.Report()
		if r.Failure != "" || r.Done != 1 || r.Count != 1 || r.Newest.Node != "-a" || p.objects[old] != "" {
			t.Errorf("%+v, %s", r, p.names())
		}
		if p.objects[present] == "" {
			t.Error("what it had not saved itself is deleted")
		}
		if log := n.said(); strings.Count(log, "is not whole, and does not count") != 1 {
			t.Errorf("the log says\n%s", log)
		}
		n.stop()
		before := p.reads
		delete(p.objects, present)
		n = run(t, p, "-a", Plan{Every: 24 * time.Hour, Keep: 1})
		defer n.stop()
		time.Sleep(12 * time.Hour)
		virtual.Wait()
		if r := n.Report(); r.Failure != "" || r.Done != 0 || p.reads != before+2 { // once of it where it is
			t.Errorf("%+v, read %d times", r, p.reads-before)
		}
	})
}

// What cannot be read lets none go, nor goes, also once newer ones were saved that can be, and whoever takes them then.
func TestWhatWasNeverReadLetsNoneGo(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}, halves: "T020000Z"}
		plan := Plan{Every: time.Hour, Keep: 2}
		n := run(t, p, "-a", plan)
		time.Sleep(3*time.Hour + 45*time.Minute) // the third cannot be read; the fourth comes with a try of it
		virtual.Wait()
		if got := p.names(); !strings.HasPrefix(got, "01T01:00:00-a 01T02:00:00-a 01T03:01:") || len(p.objects) != 3 {
			t.Fatalf("there are %s", got)
		}
		n.stop()
		n = run(t, p, "-b", plan)
		defer n.stop()
		time.Sleep(30 * time.Minute)
		virtual.Wait()
		if got := p.names(); !strings.HasPrefix(got, "01T02:00:00-a 01T03:01:") || len(p.objects) != 3 ||
			!strings.HasSuffix(got, " 01T04:00:00-b") || n.Report().Failure != "" {
			t.Fatalf("there are %s, %+v", got, n.Report())
		}
		p.mu.Lock()
		p.halves = ""
		p.mu.Unlock()
		time.Sleep(time.Hour)
		virtual.Wait()
		if got := p.names(); got != "01T04:00:00-b 01T05:00:00-b" {
			t.Errorf("there are %s", got)
		}
	})
}

// One that turns out to be broken as something is to go for it lets none go, and stays.
func TestWhatIsBrokenLetsNoneGo(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		for i, torn := range []string{"", "torn", ""} {
			text := contentAt(p.here(""))
			when := time.Now().Add(time.Duration(i-3) * time.Hour)
			p.objects[Name("f", "us", "-old", "", when)] = text[:len(text)-len(torn)] + torn
		}
		n := run(t, p, "-a", Plan{Every: time.Hour, Keep: 3})
		defer n.stop()
		time.Sleep(30 * time.Minute)
		virtual.Wait()
		if got := p.names(); got != "31T21:00:00-old 31T22:00:00-old 31T23:00:00-old 01T00:00:00-a" {
			t.Errorf("there are %s", got)
		}
		time.Sleep(time.Hour)
		virtual.Wait()
		if got := p.names(); got != "31T22:00:00-old 31T23:00:00-old 01T00:00:00-a 01T01:00:00-a" {
			t.Errorf("there are %s", got)
		}
	})
}
