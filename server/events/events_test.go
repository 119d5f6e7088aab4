package events

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

const testDir = "/node"

// shelf is a disk with a log, and a clock.
type shelf struct {
	fs  durable.FS
	now time.Time
	log bytes.Buffer
}

func newShelf() *shelf {
	return &shelf{fs: pebblefs.New(vfs.NewMem()), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

func (s *shelf) open(t *testing.T, change ...func(*Options)) *Log {
	t.Helper()
	o := Options{FS: s.fs, Dir: testDir, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
		Now: func() time.Time { return s.now }}
	for _, f := range change {
		f(&o)
	}
	l := Open(o)
	t.Cleanup(func() { l.Close() })
	return l
}

func told(l *Log) (list []string) {
	for _, r := range l.Read(context.Background(), Question{Most: 1 << 20}).Events {
		list = append(list, cmpText(&r))
	}
	return list
}

func cmpText(r *Record) string {
	if r.ID != "" {
		return r.ID
	}
	return r.Text
}

func saw(text string) replication.Event {
	return replication.Event{Kind: replication.EventStarted, Text: text}
}

func decided(id string) replication.Event {
	return replication.Event{ID: id, Kind: replication.EventEpoch, Region: "us"}
}

func TestWhatIsToldSurvives(t *testing.T) {
	s := newShelf()
	l := s.open(t)
	l.Add(decided("epoch/1"))
	l.Add(saw("a"))
	l.Add(decided("epoch/1")) // after a restart the history tells it again
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Add(saw("too late"))
	l = s.open(t)
	l.Add(decided("epoch/1"))
	l.Add(saw("b"))
	l.Close()
	l = s.open(t)
	if got, want := told(l), []string{"epoch/1", "a", "b"}; !slices.Equal(got, want) {
		t.Fatalf("told %q, want %q", got, want)
	}
	page := l.Read(t.Context(), Question{})
	if page.Events[2].Seq != 3 || page.Last != 3 || page.Log == "" || page.Problem != "" {
		t.Fatalf("%+v", page)
	}
	if more := l.Read(t.Context(), Question{Log: page.Log, After: 2}); len(more.Events) != 1 {
		t.Fatalf("%+v", more)
	}
	if all := l.Read(t.Context(), Question{Log: "another", After: 2}); len(all.Events) != 3 {
		t.Fatalf("of another log: %+v", all)
	}
}

// TestAPowerCutTakesNothingThatWasTold whatever it takes of the rest.
func TestAPowerCutTakesNothingThatWasTold(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := newShelf()
	s.fs = pebblefs.New(mem)
	if err := s.fs.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	if err := s.fs.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	l, dice := s.open(t), rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		l.Add(saw(fmt.Sprint(i)))
		if i%3 == 0 {
			l.Read(t.Context(), Question{After: uint64(i), Wait: time.Minute, Log: l.Read(t.Context(), Question{}).Log})
		}
		before := told(l)
		after := *s
		after.fs = pebblefs.New(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: i * 5, RNG: dice}))
		cut := after.open(t)
		if got := told(cut); len(got) < len(before) || !slices.Equal(got[:len(before)], before) {
			t.Fatalf("told %q before, %q after", before, got)
		}
		cut.Close()
	}
}

func TestTheEndThatACrashLeftIsCut(t *testing.T) {
	s := newShelf()
	l := s.open(t)
	l.Add(saw("a"))
	l.Add(saw("b"))
	l.Close()
	name := s.only(t)
	text := s.read(t, name)
	for cut := 1; cut < 40; cut += 7 {
		s.write(t, name, text[:len(text)-cut])
		l = s.open(t)
		if got := told(l); len(got) < 1 || got[0] != "a" || s.log.Len() > 0 {
			t.Fatalf("cut by %d: told %q, logged %s", cut, got, s.log.String())
		}
		l.Add(saw("c"))
		l.Close()
		l = s.open(t)
		if got, want := told(l), []string{"a", "c"}; !slices.Equal(got, want) {
			t.Fatalf("cut by %d: told %q, want %q", cut, got, want)
		}
		l.Close()
	}
}

// TestDamageIsSaid and costs no more than what stands behind it.
func TestDamageIsSaid(t *testing.T) {
	s := newShelf()
	l := s.open(t)
	for _, text := range []string{"a", "b", "c"} {
		l.Add(saw(text))
	}
	l.Close()
	name := s.only(t)
	text := s.read(t, name)
	before := l.page(Question{}).Log
	for at := range text {
		broken := slices.Clone(text)
		broken[at] ^= 0x10
		s.write(t, name, broken)
		l = s.open(t)
		l.Add(saw("d"))
		l.Close()
		l = s.open(t)
		got := l.Read(t.Context(), Question{})
		kinds := []replication.EventKind{}
		for _, r := range got.Events {
			kinds = append(kinds, r.Kind)
		}
		switch gap := slices.Contains(kinds, replication.EventGap); {
		case gap && got.Log == before:
			t.Fatalf("byte %d: numbers are given twice under one identity", at)
		case !gap && len(got.Events) < 1: // the length of the last one may make it look cut
			t.Fatalf("byte %d: told %+v", at, got.Events)
		case !slices.Contains(kinds, replication.EventStarted):
			t.Fatalf("byte %d: what was added afterwards is missing: %+v", at, got.Events)
		}
		l.Close()
		s.clear(t)
		s.log.Reset()
	}
}

func TestItIsBounded(t *testing.T) {
	s := newShelf()
	small := func(o *Options) { o.MostBytes, o.MostAge = 3*fileBytes, 100*24*time.Hour }
	l := s.open(t, small)
	for i := range 4000 {
		e := saw(fmt.Sprintf("%04d %0400d", i, 0))
		l.Add(e)
		if i%500 == 499 {
			l.settle(t)
		}
	}
	if n := s.bytes(t); n > 4*fileBytes {
		t.Fatalf("%d bytes are kept, %d may be", n, 3*fileBytes)
	}
	kept := told(l)
	if len(kept) < 500 || kept[len(kept)-1][:4] != "3999" {
		t.Fatalf("%d events are kept, the last one %.4s", len(kept), kept[len(kept)-1])
	}
	for range 6 {
		s.now = s.now.Add(35 * 24 * time.Hour)
		l.Add(saw("later"))
		l.settle(t)
	}
	if kept = told(l); len(kept) > 4 {
		t.Fatalf("%d events are kept after 210 days, of which all but 3 are too old", len(kept))
	}
}

// settle waits until nothing waits for the disk.
func (l *Log) settle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		l.mu.Lock()
		n, changed := len(l.waiting), l.changed
		l.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(deadline)):
			t.Fatalf("%d events wait for the disk", n)
		}
	}
}

func TestADirectoryThatCannotBeUsedCostsEventsAlone(t *testing.T) {
	s := newShelf()
	if err := s.fs.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	s.write(t, filepath.Join(testDir, dirName), []byte("a file"))
	l := s.open(t)
	l.Add(saw("a"))
	l.settle(t)
	page := l.Read(t.Context(), Question{})
	if len(page.Events) != 1 || page.Problem == "" || s.log.Len() == 0 {
		t.Fatalf("%+v, logged %q", page, s.log.String())
	}
}

func (s *shelf) files(t *testing.T) (paths []string) {
	t.Helper()
	names, err := s.fs.List(filepath.Join(testDir, dirName))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		paths = append(paths, filepath.Join(testDir, dirName, name))
	}
	return paths
}

func (s *shelf) only(t *testing.T) string {
	t.Helper()
	files := s.files(t)
	if len(files) != 1 {
		t.Fatalf("files %q", files)
	}
	return files[0]
}

func (s *shelf) clear(t *testing.T) {
	t.Helper()
	for _, path := range s.files(t) {
		if err := s.fs.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *shelf) bytes(t *testing.T) (n int64) {
	t.Helper()
	for _, path := range s.files(t) {
		n += int64(len(s.read(t, path)))
	}
	return n
}

func (s *shelf) read(t *testing.T, path string) []byte {
	t.Helper()
	p, err := durable.ReadFile(s.fs, path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *shelf) write(t *testing.T, path string, p []byte) {
	t.Helper()
	f, err := s.fs.Create(path)
	if err == nil {
		_, err = f.Write(slices.Clone(p)) // a filesystem of tests may change what it was given
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flaky is a filesystem that cannot open a file to read it, so often.
type flaky struct {
	durable.FS
	fails int
}

// narrow is a filesystem on which there is no room for the first files.
type narrow struct {
	durable.FS
	fails int
}

func (n *narrow) Create(name string) (durable.File, error) {
	if n.fails--; n.fails >= 0 {
		return nil, syscall.ENOSPC
	}
	return n.FS.Create(name)
}

// TestATornEndOnAFullDiskCostsNoLaterEvent: once there is room, what was decided since is kept.
func TestATornEndOnAFullDiskCostsNoLaterEvent(t *testing.T) {
	s := newShelf()
	l := s.open(t)
	l.Add(saw("a"))
	l.Add(saw("b"))
	l.Close()
	name := s.only(t)
	s.write(t, name, s.read(t, name)[:len(s.read(t, name))-3])
	l = s.open(t, func(o *Options) { o.FS = &narrow{s.fs, 1} })
	l.Add(saw("c"))
	l.Close()
	l = s.open(t)
	if got, want := told(l), []string{"a", "c"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func (f *flaky) Open(name string) (durable.File, error) {
	if f.fails--; f.fails >= 0 {
		return nil, syscall.EMFILE
	}
	return f.FS.Open(name)
}

// TestEventsThatCannotBeReadNowAreNotGivenUp: they are told at the next start at which they can be.
func TestEventsThatCannotBeReadNowAreNotGivenUp(t *testing.T) {
	s := newShelf()
	l := s.open(t)
	l.Add(saw("a"))
	l.Close()
	before := l.page(Question{}).Log
	for _, fails := range []int{1, 1 << 30} {
		l = s.open(t, func(o *Options) { o.FS = &flaky{s.fs, fails} })
		l.Close()
	}
	l = s.open(t)
	page := l.Read(t.Context(), Question{})
	if page.Log != before || len(page.Events) != 1 || page.Events[0].Text != "a" {
		t.Errorf("told %+v, of %q, was %q", page.Events, page.Log, before)
	}
}
