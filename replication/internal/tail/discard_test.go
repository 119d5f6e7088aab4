package tail

import (
	"errors"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestDiscard deletes one tail for good, with its state, and no other.
func TestDiscard(t *testing.T) {
	disk := vfs.NewCrashableMem()
	fs := pebblefs.New(disk)
	for _, value := range []string{"one", "two"} {
		log, st, d := losing(t, value, "more")
		log.first = 2 // the whole state is kept as well
		err := NewSaver(tailsOn(disk), log).Save(d, st, 5, func(to string) error {
			if err := durable.MakeDir(fs, to); err != nil {
				return err
			}
			return metadataIn(fs, to, &contract.Metadata{Epoch: 1, Position: 3, Chain: st.Cursor.Chain})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	list, err := tailsOn(disk).List()
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, name := range []string{"other", "", "../rescue/" + list[0].Name, ".", ".."} {
		if err := tailsOn(disk).Discard(name); !errors.Is(err, rescue.ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := tailsOn(disk).Discard(list[0].Name); err != nil {
		t.Fatal(err)
	}
	after := tailsOn(disk.CrashClone(vfs.CrashCloneCfg{}))
	left, err := after.List()
	if err != nil || len(left) != 1 || left[0].Name != list[1].Name || left[0].Damaged != "" || left[0].State == nil {
		t.Errorf("%+v, %v", left, err)
	}
	if err := after.Discard(list[0].Name); !errors.Is(err, rescue.ErrNotFound) {
		t.Errorf("again: %v", err)
	}
}

// TestReigns: what began inside a tail is in its file.
func TestReigns(t *testing.T) {
	log, st, d := losing(t, "one")
	d.Fork, d.At = 0, st.Cursor.Position
	tails := tailsOn(vfs.NewCrashableMem())
	if err := NewSaver(tails, log).Save(d, st, uint64(len(log.entries)+1), noCopy); err != nil {
		t.Fatal(err)
	}
	list, err := tails.List()
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if reigns, err := tails.Reigns(list[0].Name, nil); err != nil || len(reigns) != 1 || reigns[0] != st.Reigns[0] {
		t.Errorf("%+v, %v, want %+v", reigns, err, st.Reigns)
	}
	if _, err := tails.Reigns("other", nil); !errors.Is(err, rescue.ErrNotFound) {
		t.Error(err)
	}
}

// TestATailOfAnotherHistory is told from one of this: by its fleet, and by the chain at the fork.
func TestATailOfAnotherHistory(t *testing.T) {
	log, st, d := losing(t, "one")
	f, reign := timeline.Frame{}, st.Reigns[0]
	if err := timeline.DecodeFrame(log.entries[2].Data, &f); err != nil {
		t.Fatal(err)
	}
	at := func(fork timeline.Position, previous timeline.Chain) []timeline.Reign {
		return []timeline.Reign{reign, {Epoch: 2, First: fork + 1, Primary: "eu", Previous: previous}}
	}
	for _, c := range []struct {
		what, fleet string
		today       []timeline.Reign
		want        error
	}{
		{what: "this history", today: at(d.Fork, f.Previous)},
		{what: "a reign that begins elsewhere", today: at(d.Fork+1, timeline.Chain{1})},
		{what: "another history", today: at(d.Fork, timeline.Chain{1}), want: rescue.ErrForeign},
		{what: "another fleet", fleet: "other", today: at(d.Fork, f.Previous), want: rescue.ErrForeign},
	} {
		tails := tailsOn(vfs.NewCrashableMem())
		if err := NewSaver(tails, log).Save(d, st, uint64(len(log.entries)+1), noCopy); err != nil {
			t.Fatal(err)
		}
		list, err := tails.List()
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		if c.fleet != "" {
			tails.config.Fleet = c.fleet
		}
		if _, err := tails.Reigns(list[0].Name, c.today); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestReignsOfAState: where the log did not reach back to the fork, the state beside it has all reigns.
func TestReignsOfAState(t *testing.T) {
	log, st, d := losing(t, "one", "two")
	log.first = 2
	tails := tailsOn(vfs.NewCrashableMem())
	err := NewSaver(tails, log).Save(d, st, uint64(len(log.entries)+1), func(to string) error {
		if err := durable.MakeDir(tails.config.FS, to); err != nil {
			return err
		}
		record, err := st.EncodeRecord()
		if err != nil {
			return err
		}
		m := contract.Metadata{Epoch: 1, Position: d.At, Chain: st.Cursor.Chain, Record: record}
		return metadataIn(tails.config.FS, to, &m)
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := tails.List()
	if err != nil || len(list) != 1 || list[0].Begins() == list[0].Fork {
		t.Fatalf("%+v, %v", list, err)
	}
	if reigns, err := tails.Reigns(list[0].Name, nil); err != nil || len(reigns) != 1 || reigns[0] != st.Reigns[0] {
		t.Errorf("%+v, %v, want %+v", reigns, err, st.Reigns)
	}
}

// metadataIn writes what a whole state says of itself.
func metadataIn(fs durable.FS, dir string, m *contract.Metadata) error {
	return durable.WriteFile(fs, dir+"/METADATA", func(w io.Writer) error {
		p, err := m.MarshalBinary()
		if err == nil {
			_, err = w.Write(p)
		}
		return err
	})
}
