package tail

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	return 1, nil
}

func (l *shortLog) Entries(lo, hi, _ uint64) ([]*raftpb.Entry, error) {
	return l.entries[lo-1 : hi-1], nil
}

// lost is a region with three commands, of which it loses the last two.
func lost(t *testing.T) (*shortLog, []timeline.Reign, timeline.Divergence) {
	m, l := timeline.NewMachine(&timeline.State{Region: "us"}), &shortLog{}
	add := func(payload []byte) {
		l.entries = append(l.entries, &raftpb.Entry{Index: new(uint64(len(l.entries) + 1)), Data: payload})
	}
	r := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	if _, why, err := m.Reign(r); why != "" || err != nil {
		t.Fatal(why, err)
	}
	add(timeline.AppendReign(nil, r))
	for _, v := range []string{"shared", "lost", "lost too"} {
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
	return l, m.State().Reigns, timeline.Divergence{Fork: 1, At: 3, Claim: claim}
}

func tailsOn(disk *vfs.MemFS) *Tails {
	return New(Config{
		Fleet: "f", Region: "us", Node: "us-1", FS: pebblefs.New(disk), Dir: "/rescue", Clock: clock.Real,
		Logger: slog.New(slog.DiscardHandler),
	})
}

func noCopy(string) error { return errors.New("the whole state is not asked for") }

func TestATailIsSavedOnceAndReadWhole(t *testing.T) {
	log, reigns, d := lost(t)
	disk := vfs.NewCrashableMem()
	s := NewSaver(tailsOn(disk), log)
	for range 2 { // entries apply again after a crash
		if err := s.Save(d, reigns, 5, noCopy); err != nil {
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

// TestTheWholeStateIsKeptIfTheLogIsTooShort, again after a crash in the middle of it.
func TestTheWholeStateIsKeptIfTheLogIsTooShort(t *testing.T) {
	log, reigns, d := lost(t)
	log.first = 2
	disk := vfs.NewCrashableMem()
	s := NewSaver(tailsOn(disk), log)
	failure := errors.New("the disk is full")
	var dir string
	for _, want := range []error{failure, nil} {
		err := s.Save(d, reigns, 5, func(to string) error {
			if _, err := disk.Stat(to); err == nil {
				t.Error("what an earlier attempt left is in the way")
			}
			if err := durable.MakeDir(pebblefs.New(disk), to); err != nil {
				return err
			}
			dir = to
			return want
		})
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	if _, err := disk.CrashClone(vfs.CrashCloneCfg{}).Stat(dir); err != nil {
		t.Errorf("after a crash: %v", err)
	}
}

func TestATailThatDoesNotReachTheStateIsNotSaved(t *testing.T) {
	log, reigns, d := lost(t)
	log.entries = log.entries[:3]
	tails := tailsOn(vfs.NewCrashableMem())
	if err := NewSaver(tails, log).Save(d, reigns, 4, noCopy); err == nil {
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
	r := peer.NewRegistry(func() error { return nil })
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
