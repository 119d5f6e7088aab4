package witness

import (
	"bytes"
	"errors"
	"fmt"
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
	"github.com/mimir-kv/mimir/replication/internal/checksum"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// up starts the witness w1 in /w of a disk. It ends with the test at the latest.
func up(t *testing.T, fs durable.FS, log *bytes.Buffer) *Witness {
	t.Helper()
	w, err := Start(Config{Name: "w1", FleetID: "f", DataDir: "/w", FS: fs,
		Logger: slog.New(slog.NewTextHandler(log, nil))}, memory.NewNetwork(clock.Real, 1).Node("w1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Shutdown() })
	return w
}

// keeps has the witness keep a charter, the more the later.
func (w *Witness) keeps(t *testing.T, number uint64) {
	t.Helper()
	c := &timeline.Control{Op: timeline.OpCharter, To: "us", Charter: &timeline.Charter{
		Epoch: 2, Number: number, Lease: timeline.MinLease, Voters: []timeline.Voter{
			{ID: "us", Priority: 1}, {ID: w.voter, Identity: w.State().Ballot.Identity, Addrs: []string{"x"}},
		},
	}}
	if outcome, why, err := w.Record(t.Context(), c); outcome != timeline.Applied || err != nil {
		t.Fatal(outcome, why, err)
	}
}

// tells is the word that goes with an answer.
func (w *Witness) tells(t *testing.T) fleet.Word {
	t.Helper()
	word, err := w.Word()
	if err != nil {
		t.Fatal(err)
	}
	return word
}

func (w *Witness) recalls(words ...fleet.Word) bool { return w.Recall(words) == nil }

// TestAnOlderCopyIsFoundOut, whenever it was made, by every word that was told after that, and by no other.
func TestAnOlderCopyIsFoundOut(t *testing.T) {
	disk, log := vfs.NewCrashableMem(), new(bytes.Buffer)
	type moment struct {
		copy *vfs.MemFS
		told fleet.Word
	}
	var moments []moment
	for start := range uint64(3) {
		w := up(t, pebblefs.New(disk), log)
		for k := range uint64(2) {
			told := w.tells(t)
			moments = append(moments, moment{disk.CrashClone(vfs.CrashCloneCfg{}), told})
			w.keeps(t, 1+2*start+k)
		}
		if err := w.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	for i, at := range moments {
		for k, heard := range moments {
			w := up(t, pebblefs.New(at.copy.CrashClone(vfs.CrashCloneCfg{})), log)
			if got, want := w.recalls(heard.told), k <= i; got != want {
				t.Errorf("a copy of %d, and a word of %d: it recalls %t, want %t (%v)", i, k, got, want, w.Lost())
			}
			if err := w.Shutdown(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOnlyItsOwnWordsAreJudged: one that was made up, changed, or said by another directory ends no witness.
func TestOnlyItsOwnWordsAreJudged(t *testing.T) {
	w := up(t, pebblefs.New(vfs.NewCrashableMem()), new(bytes.Buffer))
	other := (*line)(nil).next(time.Now())
	other.ID = w.line.ID
	for name, change := range map[string]func(word *fleet.Word){
		"a later start":   func(word *fleet.Word) { word.Start = 1 << 40 },
		"another start":   func(word *fleet.Word) { word.Boot = "x" },
		"more writes":     func(word *fleet.Word) { word.Writes = 1 << 40 },
		"no seal":         func(word *fleet.Word) { word.Start, word.Seal = 1<<40, "" },
		"another key":     func(word *fleet.Word) { *word = other.written().word() },
		"another's start": func(word *fleet.Word) { *word = other.next(time.Now()).word() },
	} {
		word := w.tells(t)
		change(&word)
		if !w.recalls(word) {
			t.Errorf("%s: %v", name, w.Lost())
		}
	}
	word := w.tells(t)
	word.Start++
	if word.Seal = w.line.seal(word); w.recalls(word) {
		t.Error("it does not judge what it said itself")
	}
}

// TestTwoLivesOfOneDirectoryAreNotOne: a copy that is used as well, and is started as often, is found out.
func TestTwoLivesOfOneDirectoryAreNotOne(t *testing.T) {
	disk, log := vfs.NewCrashableMem(), new(bytes.Buffer)
	if err := up(t, pebblefs.New(disk), log).Shutdown(); err != nil {
		t.Fatal(err)
	}
	other := disk.CrashClone(vfs.CrashCloneCfg{})
	one := up(t, pebblefs.New(disk), log)
	heard := one.tells(t)
	for range 3 {
		w := up(t, pebblefs.New(other), log)
		w.keeps(t, w.tells(t).Writes)
		if err := w.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	if two := up(t, pebblefs.New(other), log); two.recalls(heard) || !one.recalls(heard) {
		t.Errorf("the copy: %v; the other: %v", two.Lost(), one.Lost())
	}
}

// TestWhoWasFoundOutVotesNoMore, for nobody and after no start, says so, and is refused by versions that know nothing
// of it.
func TestWhoWasFoundOutVotesNoMore(t *testing.T) {
	disk, log := vfs.NewCrashableMem(), new(bytes.Buffer)
	w := up(t, pebblefs.New(disk), log)
	older := disk.CrashClone(vfs.CrashCloneCfg{})
	w.keeps(t, 1)
	heard := w.tells(t)
	for start := range 3 {
		w := up(t, pebblefs.New(older), log)
		var told []fleet.Word
		if start == 0 {
			told = append(told, heard)
		}
		o := w.Recall(told)
		if o == nil || o.Reason != timeline.ReasonCharter || !strings.Contains(o.Text, "another name in its place") {
			t.Fatalf("start %d: %+v", start, o)
		}
		if _, err := w.Enrol(t.Context()); !errors.Is(err, contract.ErrDiskLost) {
			t.Errorf("it enrols: %v", err)
		}
		c := &timeline.Control{Op: timeline.OpCharter, Charter: &timeline.Charter{}}
		if outcome, _, err := w.Record(t.Context(), c); outcome != timeline.Refused || err != nil {
			t.Errorf("it records: %v, %v", outcome, err)
		}
		if err := w.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "votes no more"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	if n := strings.Count(log.String(), "does not vote"); n != 2 {
		t.Errorf("after a start said %d times:\n%s", n, log)
	}
	content, err := durable.ReadFile(pebblefs.New(older), "/w/"+ballotFile)
	if want := fmt.Sprintf(`{"version":%d,`, givenUpVersion); err != nil || !strings.Contains(string(content), want) {
		t.Errorf("%s, %v", content, err)
	}
}

// TestWhoWasFoundOutOnAFullDisk notes it as soon as there is room, and is refused after another start.
func TestWhoWasFoundOutOnAFullDisk(t *testing.T) {
	disk, full, log := vfs.NewCrashableMem(), new(atomic.Bool), new(bytes.Buffer)
	w := up(t, pebblefs.New(disk), log)
	older := disk.CrashClone(vfs.CrashCloneCfg{})
	heard := w.tells(t)
	w = up(t, crammed{pebblefs.New(older), full}, log)
	full.Store(true)
	for _, told := range [][]fleet.Word{{heard}, nil, nil} {
		if w.recalls(told...) {
			t.Error("it votes")
		}
	}
	full.Store(false)
	if w.recalls() {
		t.Error("it votes")
	}
	noted, err := read(pebblefs.New(older), "/w")
	if err != nil || noted.GivenUp == "" {
		t.Fatalf("%+v, %v", noted, err)
	}
	for range 3 {
		w.recalls(heard)
	}
	if r, err := read(pebblefs.New(older), "/w"); err != nil || r.Line.Writes != noted.Line.Writes {
		t.Errorf("what is noted is noted again: %+v, %v", r, err)
	}
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if up(t, pebblefs.New(older), log).recalls() {
		t.Error("started again, it votes")
	}
	for what, want := range map[string]int{"votes no more: its": 1, "cannot note": 1, "does not vote": 1} {
		if n := strings.Count(log.String(), what); n != want {
			t.Errorf("%q is said %d times, want %d:\n%s", what, n, want, log)
		}
	}
}

// TestADirectoryOfAnotherVersion that does not count begins a line, of which nothing is known.
func TestADirectoryOfAnotherVersion(t *testing.T) {
	disk, log := vfs.NewCrashableMem(), new(bytes.Buffer)
	w := up(t, pebblefs.New(disk), log)
	w.keeps(t, 1)
	heard, identity := w.tells(t), w.State().Ballot.Identity
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	fs := pebblefs.New(disk)
	r, err := read(fs, "/w")
	if err != nil {
		t.Fatal(err)
	}
	if r.Line = nil; r.Version != version {
		t.Errorf("format %d: versions before would refuse it", r.Version)
	}
	if err := save(fs, "/w", *r); err != nil { // as one of them writes it
		t.Fatal(err)
	}
	w = up(t, fs, log)
	got := w.tells(t)
	if !w.recalls(heard) || w.State().Ballot.Identity != identity || got.Line == heard.Line || got.Start != 1 {
		t.Errorf("it says %+v of itself, %v", got, w.Lost())
	}
}

// TestAStartWithoutRoomIsNotTold before it is noted: a disk that is full ends no witness.
func TestAStartWithoutRoomIsNotTold(t *testing.T) {
	disk, full, log := vfs.NewCrashableMem(), new(atomic.Bool), new(bytes.Buffer)
	w := up(t, pebblefs.New(disk), log)
	w.keeps(t, 1)
	first := w.tells(t)
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	w = up(t, crammed{pebblefs.New(disk), full}, log)
	if got := w.tells(t); got != (fleet.Word{}) || !w.recalls(first) {
		t.Errorf("it tells %+v, %v", got, w.Lost())
	}
	full.Store(false)
	w.keeps(t, 2)
	second := w.tells(t)
	if second.Line != first.Line || second.Start != 2 || second.Writes <= first.Writes {
		t.Errorf("it tells %+v after %+v", second, first)
	}
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if w = up(t, pebblefs.New(disk), log); !w.recalls(first, second) {
		t.Error(w.Lost())
	}
}

// TestAProcessThatWentBackIsFoundOut, with the memory of its machine, if its ballot was written since.
func TestAProcessThatWentBackIsFoundOut(t *testing.T) {
	w := up(t, pebblefs.New(vfs.NewCrashableMem()), new(bytes.Buffer))
	image := w.line
	w.keeps(t, 1)
	heard := w.tells(t)
	if !w.recalls(heard) {
		t.Fatal(w.Lost())
	}
	if w.line = image; w.recalls(heard) {
		t.Error("it recalls what it was told after its image was made")
	}
}

// TestStartsThatNobodyHeardUseUpNoLife: however often it fails to start, or votes unheard, what was told is judged.
func TestStartsThatNobodyHeardUseUpNoLife(t *testing.T) {
	disk, log := vfs.NewCrashableMem(), new(bytes.Buffer)
	w := up(t, pebblefs.New(disk), log)
	first := w.tells(t)
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	older := disk.CrashClone(vfs.CrashCloneCfg{})
	w = up(t, pebblefs.New(disk), log)
	heard := w.tells(t)
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*vfs.MemFS{older, disk} {
		for k := range uint64(2 * maxLives) {
			w = up(t, pebblefs.New(d), log)
			w.keeps(t, k+1)
			if err := w.Shutdown(); err != nil {
				t.Fatal(err)
			}
		}
		w = up(t, pebblefs.New(d), log)
		if got, want := w.recalls(first, heard), d == disk; got != want {
			t.Errorf("the older copy: %t, it recalls: %t (%v)", d == older, got, w.Lost())
		}
		if err := w.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	if got := up(t, pebblefs.New(disk), log).tells(t); got.Start != heard.Start+1 {
		t.Errorf("the start after %d that is told is %d", heard.Start, got.Start)
	}
}

// TestAStartIsNotedBeforeItIsTold: a power cut after its first word takes nothing back.
func TestAStartIsNotedBeforeItIsTold(t *testing.T) {
	disk, log := vfs.NewCrashableMem(), new(bytes.Buffer)
	w := up(t, pebblefs.New(disk), log)
	before := disk.CrashClone(vfs.CrashCloneCfg{})
	heard := w.tells(t)
	if w = up(t, pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{})), log); !w.recalls(heard) {
		t.Errorf("after a power cut: %v", w.Lost())
	}
	if w = up(t, pebblefs.New(before), log); w.recalls(heard) {
		t.Error("a copy of before it was told recalls it")
	}
	for _, with := range []error{syscall.EIO, syscall.ENOSPC} {
		failing := up(t, pebblefs.New(vfs.NewMem()), log)
		failing.config.FS = unsynced{failing.config.FS, with}
		if word, err := failing.Word(); err == nil || word != (fleet.Word{}) || failing.Err() == nil {
			t.Errorf("where it cannot be noted it tells %+v, %v, and ends with %v", word, err, failing.Err())
		}
	}
}

// TestALaterLineIsGreater, so that those who remember it know the latest ones.
func TestALaterLineIsGreater(t *testing.T) {
	var before string
	for _, at := range []int64{-1, 0, 9, 10, 1e6, 1800000000, 1 << 40} {
		l := (*line)(nil).next(time.Unix(at, 0))
		if l.ID <= before && at > 0 || len(l.ID) != 32 {
			t.Errorf("at %d: %q after %q", at, l.ID, before)
		}
		before = l.ID
	}
}

// TestALineIsBounded, and what is older than what it has is not judged.
func TestALineIsBounded(t *testing.T) {
	var l *line
	var words []fleet.Word
	for range 3 * maxLives {
		l = l.next(time.Now()).telling().written()
		words = append(words, l.word())
	}
	if len(l.Lives) != maxLives {
		t.Errorf("%d lives", len(l.Lives))
	}
	for _, w := range words {
		if why := l.lacks(w); why != "" {
			t.Errorf("%+v: %s", w, why)
		}
	}
}

// TestALineWithoutLivesIsDamaged: there is no such file.
func TestALineWithoutLivesIsDamaged(t *testing.T) {
	disk := vfs.NewCrashableMem()
	w := up(t, pebblefs.New(disk), new(bytes.Buffer))
	if err := w.Shutdown(); err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"version":1,"fleet":"f","voter":"witness/w1","ballot":{},"line":{"id":"x"}}`)
	f, err := pebblefs.New(disk).Create("/w/" + ballotFile)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "%08x\n%s\n", checksum.Of(body), body)
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := read(pebblefs.New(disk), "/w"); !errors.Is(err, contract.ErrDamaged) {
		t.Errorf("read: %v", err)
	}
}
