package stream

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// readAll returns the commands that come from r until it has everything, and the place behind them.
func readAll(t *testing.T, r *Reading) (commands []string, at timeline.Cursor) {
	t.Helper()
	for {
		payloads, now, end, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range payloads {
			var f timeline.Frame
			if timeline.DecodeFrame(p, &f) == nil {
				for _, c := range f.Commands {
					commands = append(commands, string(c.Data))
				}
			}
		}
		if at = now; end {
			return commands, at
		}
	}
}

func originOf(r *region) timeline.Origin {
	return timeline.Origin{Cursor: r.Cursor(), Reigns: r.Reigns()}
}

// TestReading: from every place on everything comes, in order, and what comes while it is read; nothing that was
// refused, and nothing that is not applied.
func TestReading(t *testing.T) {
	us := newRegion(t, "us")
	defer us.log.Close()
	us.begin(1)
	places, written := []timeline.Origin{originOf(us)}, []string{}
	for i := range 5 {
		us.write(fmt.Sprint("a", i), fmt.Sprint("b", i))
		us.mu.Lock()
		us.propose(frame(timeline.Cursor{Epoch: 1, Position: 90, Chain: timeline.Chain{7}}, "in vain"))
		us.mu.Unlock()
		written = append(written, fmt.Sprint("a", i), fmt.Sprint("b", i))
		places = append(places, originOf(us))
	}
	us.begin(2)
	us.write("c")
	written, places = append(written, "c"), append(places, originOf(us))
	source := NewSource(SourceConfig{Region: "us", Log: us.log, History: us, Logger: quiet, WindowBytes: testWindow})
	for i, place := range places {
		r, err := source.Read("test", place)
		if err != nil {
			t.Fatal(err)
		}
		commands, at := readAll(t, r)
		if want := written[min(2*i, 11):]; fmt.Sprint(commands) != fmt.Sprint(want) || at != us.Cursor() {
			t.Errorf("behind %d: %v up to %d, want %v", place.Cursor.Position, commands, at.Position, want)
		}
		more := fmt.Sprint("later ", i)
		us.write(more)
		written = append(written, more)
		if commands, at := readAll(t, r); len(commands) != 1 || commands[0] != more || at != us.Cursor() {
			t.Errorf("then %v", commands)
		}
		r.Close()
	}
}

// TestReadingIsRefused where the history here is not the one of which the place is, and says how they differ.
func TestReadingIsRefused(t *testing.T) {
	us, eu := newRegion(t, "us"), newRegion(t, "eu")
	defer us.log.Close()
	defer eu.log.Close()
	us.begin(1)
	us.write("a")
	shared := originOf(us)
	us.write("lost")
	tail := originOf(us)
	eu.mu.Lock()
	began := timeline.Cursor{Epoch: 1, Chain: timeline.NewFolder().Reign(timeline.Chain{}, us.Reigns()[0])}
	eu.propose(reignAt(timeline.Cursor{}, 1, "us"), frame(began, "a"))
	eu.mu.Unlock()
	behind := NewSource(SourceConfig{Region: "eu", Log: eu.log, History: eu, Logger: quiet, WindowBytes: testWindow})
	if _, err := behind.Read("test", tail); !errors.Is(err, ErrBehind) {
		t.Errorf("further than here: %v", err)
	}
	eu.begin(2)
	eu.write("b")
	if _, err := behind.Read("test", tail); !errors.Is(err, ErrForked) {
		t.Errorf("given up: %v", err)
	}
	other := shared
	other.Cursor.Chain[0] ^= 1
	if _, err := behind.Read("test", other); !errors.Is(err, ErrForked) {
		t.Errorf("another history of the reign: %v", err)
	}
	r, err := behind.Read("test", shared)
	if err != nil {
		t.Fatal(err)
	}
	if commands, _ := readAll(t, r); fmt.Sprint(commands) != "[b]" {
		t.Errorf("behind the fork: %v", commands)
	}
	eu.serving = errDeposed
	if _, _, _, err := r.Next(); !errors.Is(err, ErrRefused) || !errors.Is(err, errDeposed) {
		t.Errorf("deposed: %v", err)
	}
	if _, err := behind.Now(); !errors.Is(err, ErrRefused) {
		t.Errorf("deposed: %v", err)
	}
	r.Close()
}

// TestReadingKeepsTheLog that it was given and has not let go of, and says so where it is gone.
func TestReadingKeepsTheLog(t *testing.T) {
	us := newRegion(t, "us")
	defer us.log.Close()
	us.begin(1)
	begin := originOf(us)
	source := NewSource(SourceConfig{Region: "us", Log: us.log, History: us, Logger: quiet, WindowBytes: testWindow})
	write := func(n int) {
		for i := range n {
			us.write(fmt.Sprint(i, string(make([]byte, 8<<10))))
		}
	}
	compact := func() {
		t.Helper()
		if err := us.log.Compact(us.log.LastIndex()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := source.Read("test", begin)
	if err != nil {
		t.Fatal(err)
	}
	write(30)
	compact()
	if commands, at := readAll(t, r); len(commands) != 30 || at != us.Cursor() {
		t.Fatalf("%d commands", len(commands))
	}
	place := originOf(us)
	compact()
	if again, err := source.Read("again", begin); err != nil {
		t.Errorf("what was not let go of is gone: %v", err)
	} else {
		again.Close()
	}
	r.Done(place.Cursor)
	write(30)
	compact()
	if _, err := source.Read("again", begin); !errors.Is(err, ErrReleased) {
		t.Errorf("what was let go of: %v", err)
	}
	if commands, _ := readAll(t, r); len(commands) != 30 {
		t.Errorf("%d commands behind what was let go of", len(commands))
	}
	source.Hold("test", place.Cursor.Position)
	r.Close()
	write(30)
	compact()
	if again, err := source.Read("again", place); err != nil {
		t.Errorf("what was held is gone: %v", err)
	} else {
		again.Close()
	}
	source.Release("test")
	write(30)
	compact()
	if _, err := source.Read("again", place); !errors.Is(err, ErrReleased) {
		t.Errorf("what was released: %v", err)
	}
}
