package schedule

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// hourly returns so many backups of a place, one of each hour until now, the oldest first.
func hourly(t *testing.T, p *place, n int) []Backup {
	t.Helper()
	text := contentAt(p.here(""))
	for i := range n {
		p.objects[Name("f", "us", "-old", "", time.Now().Add(time.Duration(i+1-n)*time.Hour))] = text
	}
	all, err := Taken(t.Context(), p, "f")
	if err != nil || len(all) != n {
		t.Fatal(len(all), err)
	}
	return all
}

// way is that to a place, which takes a good second, and one that is asked for is never there, whatever it is told.
type way struct {
	never string
	until <-chan struct{} // what is never there is given up

	mu       sync.Mutex
	on, most int // how many are on it, and were at a time
}

func (w *way) take(name string) {
	w.goes(1)
	defer w.goes(-1)
	if name == w.never {
		<-w.until
		return
	}
	time.Sleep(1100 * time.Millisecond)
}

func (w *way) goes(on int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on += on
	w.most = max(w.most, w.on)
}

// One that hangs keeps nobody from knowing where the others are, nor one that is broken.
func TestOneThatHangsHidesNoOther(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		all := hourly(t, p, 40)
		p.objects[all[20].Name] = "torn" + content()
		until := make(chan struct{})
		defer close(until)
		at := Places{"gone": nil}
		p.far = &way{never: all[30].Name, until: until}
		err := at.Locate(t.Context(), p, all, whereIs)
		if len(at) != 38 || !errors.Is(err, errNotInTime) || !strings.Contains(err.Error(), all[30].Name) {
			t.Errorf("%d are known, %v", len(at), err)
		}
		for _, unknown := range []string{"gone", all[20].Name, all[30].Name} {
			if _, known := at[unknown]; known {
				t.Errorf("%s is known", unknown)
			}
		}
	})
}

// The newest of very many are looked at first, some at a time, and those for which there was no time later.
func TestTheNewestAreLookedAtFirst(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		all := hourly(t, p, 1000)
		p.far = new(way)
		at := Places{}
		err := at.Locate(t.Context(), p, all, whereIs)
		time.Sleep(2 * time.Second) // those for which there was no time come to their end
		virtual.Wait()
		if !errors.Is(err, errNotInTime) || len(at) < 800 || len(at) >= len(all) || p.far.most != looksAtOnce {
			t.Fatalf("%d are known, %d were looked at at a time, %v", len(at), p.far.most, err)
		}
		for i, b := range all {
			if _, known := at[b.Name]; known != (i >= len(all)-len(at)) {
				t.Fatalf("of %d that are known one is %d", len(at), i)
			}
		}
		if err := at.Locate(t.Context(), p, all, whereIs); err != nil || len(at) != len(all) {
			t.Errorf("%d are known, %v", len(at), err)
		}
	})
}

// Who begins to take backups, where a great many are, and far, takes the one that is due before all were looked at.
func TestWhatIsDueDoesNotWaitForAllLooks(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		p := &place{objects: map[string]string{}}
		hourly(t, p, 1000)
		time.Sleep(time.Hour)
		p.far = new(way)
		n := run(t, p, "-a", Plan{Every: time.Hour})
		defer n.stop()
		time.Sleep(3 * time.Minute)
		virtual.Wait()
		if r := n.Report(); r.Done != 1 || r.Count != 1001 || r.Failure != "" {
			t.Errorf("%+v", r)
		}
	})
}
