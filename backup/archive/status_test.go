package archive

import (
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// elsewhere is another place than a shelf.
type elsewhere struct{ *shelf }

func (elsewhere) String() string { return "elsewhere" }

// Under other settings counts go on, and, in the same place, what is wrong with the archive stays told, also if
// settings changed twice before anybody came to run. Another place is another matter.
func TestAnArchiverGoesOnWithWhatTheOneBeforeKnew(t *testing.T) {
	c := Config{
		Store: newShelf(), History: &holds{by: map[string]bool{}}, Interval: time.Second, Clock: clock.Real,
		Logger: quiet,
		Place:  func() (int64, replication.Position, error) { return 7, 50, nil },
	}
	after := func(former *Archiver, c Config) *Archiver {
		c.Former = former
		return New(c)
	}
	at := func(p timeline.Position) *Segment {
		return &Segment{Header: Header{To: timeline.Origin{Cursor: timeline.Cursor{Position: p}}}}
	}
	first := New(c)
	first.leads()
	first.begun(at(30), true, time.Now())
	first.kept(at(40), 1000)
	first.seen(time.Now())
	first.failed(errors.New("it burns"))
	want := first.Status()
	if want.Gap == nil || want.Problem == "" || want.Segments != 1 || want.Bytes != 1000 || want.Failures != 1 ||
		want.Gaps != 1 || want.Behind != 10 || want.Lag < 0 {
		t.Fatalf("%+v", want)
	}
	second := after(first, c)
	third := after(second, c)
	for name, a := range map[string]*Archiver{"second": second, "third": third} {
		got := a.Status()
		got.Lag = want.Lag
		if got.Gap == nil || *got.Gap != *want.Gap {
			t.Errorf("%s: gap %+v, want %+v", name, got.Gap, want.Gap)
		}
		got.Gap = want.Gap
		if got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	first.failed(errors.New("it burned at last"))
	third.begin()
	if got := third.Status(); got.Failures != 2 || got.Problem != "it burned at last" {
		t.Errorf("it does not know how the first one ended: %+v", got)
	}
	c.Store = elsewhere{newShelf()}
	if got := after(third, c).Status(); got.Failures != 2 || got.Gaps != 1 || got.Segments != 1 || got.Gap != nil ||
		got.Problem != "" || got.Active || got.Known || got.Lag >= 0 {
		t.Errorf("in another place: %+v", got)
	}
}
