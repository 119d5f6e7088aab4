package replication

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestANodeTooOldForAStateEnds, when it looks at a state that another node of its region sent and before it keeps
// anything of it: its region goes on without it, and it must not stay behind as one that lags. A state that is none, or
// is another region's, ends nobody: it may have been sent by anybody.
func TestANodeTooOldForAStateEnds(t *testing.T) {
	fs, storage := pebblefs.New(vfs.NewMem()), enginetest.Volatile()
	maker := copies.NewMaker(fs, storage)
	write := func(dir, of string, place uint8) {
		s := timeline.State{Region: of, Cursor: timeline.Cursor{Epoch: 1, Position: 3}}
		s.Reigns = []timeline.Reign{{Epoch: 1, Primary: "us", First: 1, Place: place}}
		record, err := s.EncodeRecord()
		if err != nil {
			t.Fatal(err)
		}
		p, err := maker.Begin(dir, &Metadata{AppliedIndex: 7, AppliedTerm: 2, Epoch: 1, Position: 3, Record: record})
		if err == nil {
			err = p.Write()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("/old", "us", 0)
	write("/new", "us", 2)
	write("/foreign", "eu", 0)
	inspect := func(level timeline.Level, dir string) (looked, ended error) {
		l := life.New(clock.Real, slog.New(slog.DiscardHandler))
		defer l.Close()
		a := region.NewApplier(region.Config{Region: "us", Storage: storage, Maker: maker, Level: level,
			Fatal: l.Fail}, region.NewApplied(&region.View{}, l))
		index, term, _, err := machine{a, l}.Inspect(dir)
		if err == nil && (index != 7 || term != 2) {
			t.Errorf("%s: entry %d of term %d", dir, index, term)
		}
		return err, l.Failure()
	}
	for _, c := range []struct {
		level         timeline.Level
		dir           string
		looked, ended error
	}{
		{timeline.LevelFirst, "/old", nil, nil}, {timeline.LevelNow, "/new", nil, nil},
		{timeline.LevelFirst, "/new", timeline.ErrVersion, timeline.ErrVersion},
		{timeline.LevelNow, "/foreign", ErrIdentity, nil},
	} {
		looked, ended := inspect(c.level, c.dir)
		if !errors.Is(looked, c.looked) || !errors.Is(ended, c.ended) || c.ended == nil && ended != nil {
			t.Errorf("level %d, %s: %v, ended by %v", c.level, c.dir, looked, ended)
		}
	}
	if looked, ended := inspect(timeline.LevelNow, "/nothing"); looked == nil || ended != nil {
		t.Errorf("nothing: %v, ended by %v", looked, ended)
	}
}
