package witness

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// TestAWitnessRemembersItsVote over a power cut, and does not start where its ballot is gone or damaged.
func TestAWitnessRemembersItsVote(t *testing.T) {
	disk := vfs.NewCrashableMem()
	start := func(d *vfs.MemFS, name string) (*Witness, error) {
		return Start(Config{Name: name, FleetID: "f", DataDir: "/w", FS: pebblefs.New(d), Logger: slog.New(
			slog.DiscardHandler)}, memory.NewNetwork(clock.Real, 1).Node(name))
	}
	w, err := start(disk, "w1")
	if err != nil {
		t.Fatal(err)
	}
	identity := w.State().Ballot.Identity
	charter := &timeline.Charter{Epoch: 2, Number: 1, Lease: timeline.MinLease, Voters: []timeline.Voter{
		{ID: "us", Priority: 1}, {ID: "witness/w1", Identity: identity, Addrs: []string{"x"}},
	}}
	control := &timeline.Control{Op: timeline.OpCharter, Charter: charter, To: "us"}
	if outcome, why, err := w.Record(t.Context(), control); outcome != timeline.Applied || err != nil {
		t.Fatal(outcome, why, err)
	}
	disk = disk.CrashClone(vfs.CrashCloneCfg{})
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if w, err = start(disk, "w1"); err != nil {
		t.Fatal(err)
	}
	if b := w.State().Ballot; b.Identity != identity || b.Promised != 2 || b.For != "us" || w.State().Charter() == nil {
		t.Errorf("remembers %+v", b)
	}
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if _, err := start(disk, "w2"); !errors.Is(err, contract.ErrIdentity) {
		t.Errorf("in the directory of another: %v", err)
	}
	damaged := disk.CrashClone(vfs.CrashCloneCfg{})
	f, err := damaged.OpenReadWrite("/w/ballot", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 40); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := start(damaged, "w1"); !errors.Is(err, contract.ErrDamaged) {
		t.Errorf("with a damaged ballot: %v", err)
	}
	if err := disk.Remove("/w/ballot"); err != nil {
		t.Fatal(err)
	}
	if _, err := start(disk, "w1"); !errors.Is(err, contract.ErrDiskLost) {
		t.Errorf("without its ballot: %v", err)
	}
}

// TestABallotWithAPolicyIsNotForOlderWitnesses, which would drop it: its file has a version that they refuse.
func TestABallotWithAPolicyIsNotForOlderWitnesses(t *testing.T) {
	for want, charter := range map[int]timeline.Charter{
		version: {Number: 1}, policyVersion: {Number: 1, Failback: time.Minute},
		holdVersion:  {Number: 1, Hold: &timeline.Hold{For: time.Minute}},
		countVersion: {Number: 1, Hold: &timeline.Hold{For: time.Minute, Counted: true}},
	} {
		fs, voter := pebblefs.New(vfs.NewMem()), timeline.WitnessPrefix+"w"
		if err := fs.MkdirAll("/w"); err != nil {
			t.Fatal(err)
		}
		r := record{Fleet: "f", Voter: voter, Ballot: &timeline.Ballot{Charter: charter}}
		if err := save(fs, "/w", r); err != nil {
			t.Fatal(err)
		}
		content, err := durable.ReadFile(fs, "/w/"+ballotFile)
		if err != nil || !strings.Contains(string(content), fmt.Sprintf(`{"version":%d,`, want)) {
			t.Errorf("%s, %v", content, err)
		}
		if kept, err := load(fs, "/w", "f", voter); err != nil || kept.Ballot.Charter.Failback != charter.Failback {
			t.Errorf("%+v, %v", kept, err)
		}
	}
}

// unsynced is a disk on which syncs of directories fail.
type unsynced struct {
	durable.FS
	with error
}

func (u unsynced) SyncDir(string) error { return u.with }

// TestAVoteThatIsBelievedIsDurable: the name of a ballot was not synced before its process ended, by an error or by a
// kill. Who is started next tells that vote, and so must not lose it to a power cut.
func TestAVoteThatIsBelievedIsDurable(t *testing.T) {
	disk := vfs.NewCrashableMem()
	start := func(fs durable.FS) *Witness {
		w, err := Start(Config{Name: "w1", FleetID: "f", DataDir: "/w", FS: fs, Logger: slog.New(slog.DiscardHandler)},
			memory.NewNetwork(clock.Real, 1).Node("w1"))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	w := start(pebblefs.New(disk))
	w.config.FS = unsynced{w.config.FS, syscall.EIO}
	control := &timeline.Control{Op: timeline.OpCharter, To: "us", Charter: &timeline.Charter{
		Epoch: 2, Number: 1, Lease: timeline.MinLease, Voters: []timeline.Voter{
			{ID: "us", Priority: 1}, {ID: "witness/w1", Identity: w.State().Ballot.Identity, Addrs: []string{"x"}},
		},
	}}
	if _, _, err := w.Record(t.Context(), control); !errors.Is(err, contract.ErrUnknownOutcome) {
		t.Fatalf("recorded where nothing can be synced: %v", err)
	}
	_ = w.Shutdown()
	w = start(pebblefs.New(disk))
	told := w.Promised()
	_ = w.Shutdown()
	w = start(pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{})))
	if after := w.Promised(); after != told {
		t.Errorf("it told of epoch %d, and after a power cut of %d", told, after)
	}
	_ = w.Shutdown()
}

// crammed is a disk without room, as long as full says so.
type crammed struct {
	durable.FS
	full *atomic.Bool
}

func (c crammed) Create(name string) (durable.File, error) {
	if c.full.Load() {
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
	}
	return c.FS.Create(name)
}

// TestAFullDiskEndsNoWitness: it votes for nobody as long as it cannot keep that, and goes on once there is room.
func TestAFullDiskEndsNoWitness(t *testing.T) {
	disk, full := vfs.NewCrashableMem(), new(atomic.Bool)
	var log strings.Builder
	w, err := Start(Config{Name: "w1", FleetID: "f", DataDir: "/w", FS: crammed{pebblefs.New(disk), full},
		Logger: slog.New(slog.NewTextHandler(&log, nil))}, memory.NewNetwork(clock.Real, 1).Node("w1"))
	if err != nil {
		t.Fatal(err)
	}
	control := &timeline.Control{Op: timeline.OpCharter, To: "us", Charter: &timeline.Charter{
		Epoch: 2, Number: 1, Lease: timeline.MinLease, Voters: []timeline.Voter{
			{ID: "us", Priority: 1}, {ID: "witness/w1", Identity: w.State().Ballot.Identity, Addrs: []string{"x"}},
		},
	}}
	full.Store(true)
	for range 3 {
		if outcome, why, err := w.Record(t.Context(), control); outcome != timeline.Refused || err != nil {
			t.Fatalf("where there is no room: %v, %q, %v", outcome, why, err)
		}
	}
	if w.Err() != nil || w.Promised() != 0 {
		t.Errorf("after that: promised %d, %v", w.Promised(), w.Err())
	}
	if n := strings.Count(log.String(), "no room"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	full.Store(false)
	if outcome, why, err := w.Record(t.Context(), control); outcome != timeline.Applied || err != nil {
		t.Fatal(outcome, why, err)
	}
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
}

// TestAVoteThatIsInItsFileIsNotRefused: a disk that says that it has no room when the ballot has its name already
// leaves it to the next process, which would confirm the vote at once. A process that went on meanwhile, and promised
// another region not to vote, would have it broken.
func TestAVoteThatIsInItsFileIsNotRefused(t *testing.T) {
	disk := pebblefs.New(vfs.NewMem())
	w, err := Start(Config{Name: "w1", FleetID: "f", DataDir: "/w", FS: disk, Logger: slog.New(slog.DiscardHandler)},
		memory.NewNetwork(clock.Real, 1).Node("w1"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Shutdown()
	w.config.FS = unsynced{disk, syscall.ENOSPC}
	control := &timeline.Control{Op: timeline.OpCharter, To: "us", Charter: &timeline.Charter{
		Epoch: 2, Number: 1, Lease: timeline.MinLease, Voters: []timeline.Voter{
			{ID: "us", Priority: 1}, {ID: "witness/w1", Identity: w.State().Ballot.Identity, Addrs: []string{"x"}},
		},
	}}
	outcome, why, err := w.Record(t.Context(), control)
	if !errors.Is(err, contract.ErrUnknownOutcome) || w.Err() == nil {
		t.Errorf("%v, %q, %v; it goes on: %t", outcome, why, err, w.Err() == nil)
	}
	if kept, err := load(disk, "/w", "f", w.voter); err != nil || kept.Ballot.Promised != 2 {
		t.Errorf("the file has %+v, %v", kept, err)
	}
}

// blind is a filesystem that cannot tell whether something is there.
type blind struct{ durable.FS }

func (blind) Stat(string) (fs.FileInfo, error) { return nil, syscall.EIO }

// TestADirectoryThatCannotBeLookedAtIsNotEmpty: a witness that takes it for empty has forgotten its votes.
func TestADirectoryThatCannotBeLookedAtIsNotEmpty(t *testing.T) {
	disk := blind{pebblefs.New(vfs.NewMem())}
	if fleet, err := FleetOf(disk, "/w"); !errors.Is(err, syscall.EIO) {
		t.Errorf("fleet %q, %v", fleet, err)
	}
}
