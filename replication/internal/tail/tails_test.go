package tail

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// shortLog is a log in memory that begins at an entry.
type shortLog struct {
	entries []*raftpb.Entry
	first   timeline.Position
}

func (l *shortLog) Seek(p timeline.Position) (uint64, error) {
	if p < l.first {
		return 0, raft.ErrCompacted
	}
	i := slices.IndexFunc(l.entries, func(e *raftpb.Entry) bool {
		h, _ := timeline.ReadHeader(e.Data)
		return h.Last() > p || h.Kind == timeline.KindReign && h.First > p
	})
	return uint64(i + 1), nil
}

func (l *shortLog) FirstPosition() (timeline.Position, bool) { return l.first, true }

func (l *shortLog) Entries(lo, hi, _ uint64) ([]*raftpb.Entry, error) {
	return l.entries[lo-1 : hi-1], nil
}

// lost is a region with three commands, of which it loses the last two.
func lost(t *testing.T) (*shortLog, *timeline.State, timeline.Divergence) {
	return losing(t, "lost", "lost too")
}

func losing(t *testing.T, values ...string) (*shortLog, *timeline.State, timeline.Divergence) {
	m, l := timeline.NewMachine(&timeline.State{Region: "us"}), &shortLog{}
	add := func(payload []byte) {
		l.entries = append(l.entries, &raftpb.Entry{Index: new(uint64(len(l.entries) + 1)), Data: payload})
	}
	r := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	if _, why, err := m.Reign(r); why != "" || err != nil {
		t.Fatal(why, err)
	}
	add(timeline.AppendReign(nil, r))
	for _, v := range append([]string{"shared"}, values...) {
		c := m.Cursor()
		f := timeline.Frame{
			Epoch: 1, First: c.Position + 1, Previous: c.Chain, Commands: []timeline.Command{{Data: []byte(v)}},
		}
		if _, why, err := m.Frame(&f); why != "" || err != nil {
			t.Fatal(why, err)
		}
		add(timeline.AppendFrame(nil, &f))
	}
	claim := timeline.Reign{Epoch: 2, First: 2, Primary: "eu"}
	st := m.State()
	return l, &st, timeline.Divergence{Fork: 1, At: st.Cursor.Position, Claim: claim}
}

func tailsOn(disk *vfs.MemFS) *Tails {
	return New(Config{
		Fleet: "f", Region: "us", Node: "us-1", FS: pebblefs.New(disk), Dir: "/rescue", Clock: clock.Real,
		Logger: slog.New(slog.DiscardHandler),
	})
}

func noCopy(string) error { return errors.New("the whole state is not asked for") }

func TestATailIsSavedOnceAndReadWhole(t *testing.T) {
	log, st, d := lost(t)
	disk := vfs.NewCrashableMem()
	s := NewSaver(tailsOn(disk), log)
	for range 2 { // entries apply again after a crash
		if err := s.Save(d, st, 5, noCopy); err != nil {
			t.Fatal(err)
		}
		log.entries = nil
	}
	tails := tailsOn(disk.CrashClone(vfs.CrashCloneCfg{}))
	list, err := tails.List()
	if err != nil || len(list) != 1 || list[0].Damaged != "" || list[0].Commands != 2 || list[0].Node != "us-1" {
		t.Fatalf("%+v, %v", list, err)
	}
	var got []string
	err = tails.Read(t.Context(), list[0].Name, func(e timeline.Epoch, p timeline.Position, c contract.Command) error {
		got = append(got, fmt.Sprintf("%d/%d %s", e, p, c.Data))
		return nil
	})
	if err != nil || fmt.Sprint(got) != "[1/2 lost 1/3 lost too]" {
		t.Errorf("%q, %v", got, err)
	}
	if err := tails.Read(t.Context(), "other", nil); !errors.Is(err, rescue.ErrNotFound) {
		t.Errorf("a tail that is not there: %v", err)
	}
	stop := errors.New("stop")
	refuse := func(timeline.Epoch, timeline.Position, contract.Command) error { return stop }
	if err := tails.Read(t.Context(), list[0].Name, refuse); !errors.Is(err, stop) {
		t.Errorf("a visitor that stops: %v", err)
	}
}

// TestTheWholeStateIsKeptIfTheLogIsTooShort, again after a crash in the middle of it, beside the commands that the log
// has.
func TestTheWholeStateIsKeptIfTheLogIsTooShort(t *testing.T) {
	for first, values := range map[timeline.Position]string{2: "[3 lost too]", 3: "[]", 4: "[]"} {
		log, st, d := lost(t)
		log.first = first
		disk := vfs.NewCrashableMem()
		fs := pebblefs.New(disk)
		s := NewSaver(tailsOn(disk), log)
		failure := errors.New("the disk is full")
		for _, want := range []error{failure, nil, nil} {
			err := s.Save(d, st, 5, func(to string) error {
				if _, err := disk.Stat(to); err == nil {
					t.Error("what an earlier attempt left is in the way")
				}
				if err := durable.MakeDir(fs, to); err != nil || want != nil {
					return errors.Join(want, err)
				}
				m := contract.Metadata{Epoch: 1, Position: 3, Chain: st.Cursor.Chain}
				return durable.WriteFile(fs, to+"/METADATA", func(w io.Writer) error {
					p, err := m.MarshalBinary()
					if err == nil {
						_, err = w.Write(p)
					}
					return err
				})
			})
			if !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
			if files, err := disk.List("/rescue"); want != nil && (err != nil || len(files) != 0) {
				t.Errorf("what was not saved takes room: %v, %v", files, err)
			}
			if list, err := tailsOn(disk).List(); want != nil && (err != nil || len(list) != 0) {
				t.Errorf("nothing was saved, and listed is %+v, %v", list, err)
			}
		}
		tails := tailsOn(disk.CrashClone(vfs.CrashCloneCfg{}))
		list, err := tails.List()
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		i := list[0]
		if i.Damaged != "" || i.Fork != 1 || i.Last != 3 || i.Begins() != min(first, 3) || i.State == nil ||
			i.State.Position != 3 || i.State.Chain != st.Cursor.Chain || i.State.Bytes == 0 {
			t.Errorf("log from %d on: %+v, %+v", first, i, i.State)
		}
		got := []string{}
		keep := func(_ timeline.Epoch, p timeline.Position, c contract.Command) error {
			got = append(got, fmt.Sprintf("%d %s", p, c.Data))
			return nil
		}
		if err := tails.Read(t.Context(), i.Name, keep); err != nil || fmt.Sprint(got) != values {
			t.Errorf("log from %d on: %s, %v, want %s", first, got, err, values)
		}
		if dir, state, err := tails.StateDir(i.Name); err != nil || dir == "" || state.Position != 3 {
			t.Errorf("state in %q, %+v, %v", dir, state, err)
		}
		for _, name := range []string{"other", "../" + i.Name} {
			if _, _, err := tails.StateDir(name); !errors.Is(err, rescue.ErrNotFound) {
				t.Errorf("the state of %s: %v", name, err)
			}
		}
	}
}

// TestAStateOfAnOlderVersionIsListed: it stands alone.
func TestAStateOfAnOlderVersionIsListed(t *testing.T) {
	disk := vfs.NewMem()
	fs := pebblefs.New(disk)
	m := contract.Metadata{Epoch: 1, Position: 260}
	p, err := m.MarshalBinary()
	if err == nil {
		err = durable.MakeDir(fs, "/rescue/us-e3-17-260.state")
	}
	if err == nil {
		err = durable.WriteFile(fs, "/rescue/us-e3-17-260.state/METADATA", func(w io.Writer) error {
			_, err := w.Write(p)
			return err
		})
	}
	if err == nil {
		err = durable.MakeDir(fs, "/rescue/us-e4-5-6.state")
	}
	if err != nil {
		t.Fatal(err)
	}
	list, err := tailsOn(disk).List()
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	if i := list[0]; i.Fork != 17 || i.Last != 260 || i.Begins() != 260 || i.Claim.Epoch != 3 || i.State == nil ||
		i.Damaged != "" {
		t.Errorf("%+v", i)
	}
	if list[1].Damaged == "" {
		t.Errorf("half a copy passes for a state: %+v", list[1])
	}
}

// TestTwoTailsOfEqualPositionsAreBothSaved: whoever lost one may lose another of the same places.
func TestTwoTailsOfEqualPositionsAreBothSaved(t *testing.T) {
	disk := vfs.NewMem()
	for _, value := range []string{"one", "two"} {
		log, st, d := losing(t, value)
		if err := NewSaver(tailsOn(disk), log).Save(d, st, 4, noCopy); err != nil {
			t.Fatal(err)
		}
	}
	list, err := tailsOn(disk).List()
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	found := map[string]bool{}
	for _, i := range list {
		err := tailsOn(disk).Read(t.Context(), i.Name,
			func(_ timeline.Epoch, _ timeline.Position, c contract.Command) error {
				found[string(c.Data)] = true
				return nil
			})
		if err != nil {
			t.Error(err)
		}
	}
	if !found["one"] || !found["two"] {
		t.Errorf("%v", found)
	}
}

// damagedLog is a log of which the entries from an index on cannot be read.
type damagedLog struct {
	*shortLog
	from uint64
}

func (l *damagedLog) Entries(lo, hi, most uint64) ([]*raftpb.Entry, error) {
	if hi = min(hi, l.from); lo >= hi {
		return nil, fmt.Errorf("%w: entry %d", wal.ErrCorrupt, lo)
	}
	return l.shortLog.Entries(lo, hi, most)
}

// TestADamagedLogIsNotTakenForAShortOne: nothing is saved in place of what it had, and the node is told.
func TestADamagedLogIsNotTakenForAShortOne(t *testing.T) {
	for from := uint64(1); from < 5; from++ {
		log, st, d := lost(t)
		tails := tailsOn(vfs.NewMem())
		if err := NewSaver(tails, &damagedLog{log, from}).Save(d, st, 5, noCopy); !errors.Is(err, wal.ErrCorrupt) {
			t.Errorf("damaged from %d on: %v", from, err)
		}
		if list, err := tails.List(); err != nil || len(list) != 0 {
			t.Errorf("damaged from %d on: %+v, %v", from, list, err)
		}
	}
}

// TestAFileInTheWayIsNotTakenForTheTail, whatever it says of itself, and is not lost either.
func TestAFileInTheWayIsNotTakenForTheTail(t *testing.T) {
	log, st, d := lost(t)
	name := rescue.Name("us", d, st.Cursor.Chain)
	for what, header := range map[string]rescue.Header{
		"one that says nothing":        {},
		"one that says it is the same": {Region: "us", Fork: d.Fork, Last: d.At, Chain: st.Cursor.Chain},
		"one of another chain":         {Region: "us", Fork: d.Fork, Last: d.At, Chain: timeline.Chain{1}},
		"one that has less of the same tail": {
			Region: "us", Fork: d.Fork, Last: d.At, After: 2, Chain: st.Cursor.Chain,
		},
	} {
		disk := vfs.NewMem()
		err := durable.MakeDir(pebblefs.New(disk), "/rescue")
		if err == nil {
			err = durable.WriteFile(pebblefs.New(disk), "/rescue/"+name+".rescue", func(w io.Writer) error {
				e, err := rescue.NewEncoder(w, header)
				if err == nil && header.After == 0 {
					err = e.Entry(timeline.AppendFrame(nil, &timeline.Frame{
						Epoch: 1, First: 2, Commands: []timeline.Command{{Data: []byte("other")}},
					}))
				}
				if err == nil {
					_, err = e.Close()
				}
				return err
			})
		}
		if err == nil {
			err = NewSaver(tailsOn(disk), log).Save(d, st, 5, noCopy)
		}
		if err != nil {
			t.Fatal(err)
		}
		list, err := tailsOn(disk).List()
		if err != nil || len(list) == 0 || list[0].Name != name || list[0].Commands != 2 {
			t.Errorf("%s: %+v, %v", what, list, err)
		}
		if aside := len(list) == 2; aside != (header.After == 0) {
			t.Errorf("%s: %+v", what, list)
		}
	}
}

func TestATailThatDoesNotReachTheStateIsNotSaved(t *testing.T) {
	log, st, d := lost(t)
	log.entries = log.entries[:3]
	tails := tailsOn(vfs.NewCrashableMem())
	if err := NewSaver(tails, log).Save(d, st, 4, noCopy); err == nil {
		t.Error("a tail with a hole was saved")
	}
	if list, err := tails.List(); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestOtherNodesAreToldOfDamagedTailsToo(t *testing.T) {
	disk := vfs.NewMem()
	err := durable.MakeDir(pebblefs.New(disk), "/rescue")
	if err == nil {
		err = durable.WriteFile(pebblefs.New(disk), "/rescue/broken.rescue", func(w io.Writer) error {
			_, err := w.Write([]byte("not a tail"))
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	net := memory.NewNetwork(clock.Real, 1)
	r := peer.NewRegistry(func() error { return nil }, nil)
	tailsOn(disk).Register(r)
	server := net.Node("us-1")
	if err := server.Serve(map[string]transport.Handler{peer.Service: r.Serve}); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client := net.Node("eu-1")
	defer client.Close()
	list, err := peer.Ask(t.Context(), peer.NewClient(client), "us-1", Ask, peer.Nothing{})
	if err != nil || len(list) != 1 || list[0].Name != "broken" || list[0].Damaged == "" ||
		list[0].Saved != (time.Time{}) {
		t.Errorf("%+v, %v", list, err)
	}
}

// A rescue file that was damaged says so and names itself, and keeps no other from being listed and read; or what was
// damaged is not needed.
func TestADamagedRescueFileSaysSo(t *testing.T) {
	disk := vfs.NewMem()
	fs := pebblefs.New(disk)
	for _, value := range []string{"one", "two"} {
		log, st, d := losing(t, value, "more")
		if err := NewSaver(tailsOn(disk), log).Save(d, st, 5, noCopy); err != nil {
			t.Fatal(err)
		}
	}
	tails := tailsOn(disk)
	whole, err := tails.List()
	if err != nil || len(whole) != 2 {
		t.Fatalf("%+v, %v", whole, err)
	}
	path := "/rescue/" + whole[0].Name + ".rescue"
	text, err := durable.ReadFile(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{"emptied": nil, "another file": []byte("#!/bin/sh\n")}
	for at := 0; at < len(text); at += 11 {
		flipped := slices.Clone(text)
		flipped[at] ^= 0x10
		damaged[fmt.Sprintf("flipped at %d", at)], damaged[fmt.Sprintf("cut at %d", at)] = flipped, text[:at]
	}
	check := func(damage string) {
		list, err := tails.List()
		if err != nil || len(list) != 2 || list[1] != whole[1] {
			t.Fatalf("%s: listed %+v, %v", damage, list, err)
		}
		err = tails.Read(t.Context(), whole[0].Name, func(timeline.Epoch, timeline.Position, contract.Command) error {
			return nil
		})
		if !strings.Contains(list[0].Damaged, whole[0].Name) || err == nil || strings.Contains(list[0].Damaged, "\n") {
			t.Errorf("%s: %q, read: %v", damage, list[0].Damaged, err)
		}
	}
	for damage, text := range damaged {
		err := durable.WriteFile(fs, path, func(w io.Writer) error {
			_, err := w.Write(slices.Clone(text)) // under the race detector Pebble spoils what it was given
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		check(damage)
	}
	if err := errors.Join(disk.Remove(path), disk.MkdirAll(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	check("a directory")
}

// flaky is a filesystem that cannot open files of this name.
type flaky struct {
	durable.FS
	name string
}

func (f flaky) Open(name string) (durable.File, error) {
	if filepath.Base(name) == f.name {
		return nil, syscall.EIO
	}
	return f.FS.Open(name)
}

// TestAStateThatCannotBeReadNowIsKept: it may be whole, and is not removed to be made anew.
func TestAStateThatCannotBeReadNowIsKept(t *testing.T) {
	log, st, _ := lost(t)
	log.first = 3
	disk := vfs.NewCrashableMem()
	fs := pebblefs.New(disk)
	made := 0
	whole := func(to string) error {
		made++
		if err := durable.MakeDir(fs, to); err != nil {
			return err
		}
		m := contract.Metadata{Epoch: 1, Position: 3, Chain: st.Cursor.Chain}
		return durable.WriteFile(fs, to+"/METADATA", func(w io.Writer) error {
			p, err := m.MarshalBinary()
			if err == nil {
				_, err = w.Write(p)
			}
			return err
		})
	}
	tails := tailsOn(disk)
	if err := NewSaver(tails, log).saveWhole("x", st.Cursor.Chain, whole); err != nil || made != 1 {
		t.Fatal(made, err)
	}
	tails.config.FS = flaky{fs, "METADATA"}
	if err := NewSaver(tails, log).saveWhole("x", st.Cursor.Chain, whole); !errors.Is(err, syscall.EIO) || made != 1 {
		t.Errorf("made %d times, %v", made, err)
	}
	tails.config.FS = fs
	if err := NewSaver(tails, log).saveWhole("x", st.Cursor.Chain, whole); err != nil || made != 1 {
		t.Errorf("made %d times, %v", made, err)
	}
}
