package recall

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

func recollected(t *testing.T, fs durable.FS, path string, logger *slog.Logger) *Memory {
	t.Helper()
	m, err := Remember(fs, path, logger)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// flaky is a filesystem that cannot read, so often.
type flaky struct {
	durable.FS
	fails int
	with  error
}

func (f *flaky) Open(name string) (durable.File, error) {
	if f.fails--; f.fails >= 0 {
		return nil, f.with
	}
	return f.FS.Open(name)
}

// TestWhatCannotBeReadNowIsNotForgotten: a read error that passes is no damage, and one that does not pass ends the
// start with a line that says what to do. The file stays what it is.
func TestWhatCannotBeReadNowIsNotForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "HEARD")
	m := recollected(t, durable.OS, path, quiet)
	m.Note(5, Said{Disk{"a", 1, "x"}, 7, ""})
	m.Save()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, with := range []error{syscall.EIO, syscall.EINTR, syscall.EMFILE} {
		m := recollected(t, &flaky{durable.OS, 1, with}, path, quiet)
		if got, _ := m.Before(5, Disk{"a", 2, "y"}); got != (Seen{1, 7}) {
			t.Errorf("after %v: %+v", with, got)
		}
		_, err := Remember(&flaky{durable.OS, 1 << 30, with}, path, quiet)
		if !errors.Is(err, with) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v all the time: %v", with, err)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%s, %v; was %s", after, err, before)
	}
}

// TestTheWaitForVoters ends when all of them were heard, or with the time; what may be agreed on counts as long.
func TestTheWaitForVoters(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		a := new(Agreed)
		voters := []uint64{1, 2, 3}
		is := func(when string, awaits, over bool, perhaps uint64) {
			t.Helper()
			if w, o := a.Awaits(voters); w != awaits || o != over {
				t.Errorf("%s: awaits %t, over %t", when, w, o)
			}
			if index, _ := a.Perhaps(); index != perhaps {
				t.Errorf("%s: perhaps %d", when, index)
			}
		}
		is("nothing begun", false, false, 0)
		a.Wait(clock.Real, 1, 5*time.Second)
		is("begun", true, false, 0)
		a.reach(Entry{Index: 9, Term: 2})
		a.reach(Entry{Index: 12, Term: 1})
		a.hear(2)
		is("one heard", true, false, 9)
		time.Sleep(5 * time.Second)
		is("over", false, true, 0)
		a.hear(3)
		is("all heard", false, false, 0)
	})
}

// ground is what a node has: it committed these terms, from entry 1 on.
func ground(terms ...uint64) Ground {
	g := Ground{
		Committed: func() uint64 { return uint64(len(terms)) },
		Term: func(index uint64) uint64 {
			if index == 0 || index > uint64(len(terms)) {
				return 0
			}
			return terms[index-1]
		},
		Voters: func() []uint64 { return []uint64{1, 2, 3} },
		Number: func(node string) uint64 {
			return map[string]uint64{"us-1": 1, "us-2": 2, "us-3": 3}[node]
		},
	}
	return g
}

// TestTwoHistories: what two logs agreed on in one place proves it, and nothing else does.
func TestTwoHistories(t *testing.T) {
	g := ground(1, 2, 2, 4, 4)
	const at = 5
	for name, c := range map[string]struct {
		log   Log
		parts bool
	}{
		"nothing said":                        {Log{}, false},
		"the same":                            {Log{Committed: 5, CommittedTerm: 4, Term: 4}, false},
		"behind":                              {Log{Committed: 3, CommittedTerm: 2}, false},
		"further":                             {Log{Committed: 9, CommittedTerm: 6, Term: 4}, false},
		"further, and it let go of that":      {Log{Committed: 9, CommittedTerm: 6}, false},
		"another one, not known agreed on":    {Log{Committed: 3, CommittedTerm: 2, Term: 3}, false},
		"another one at the end":              {Log{Committed: 9, CommittedTerm: 6, Term: 5}, true},
		"another one before the end":          {Log{Committed: 3, CommittedTerm: 3}, true},
		"of an earlier term, as long":         {Log{Committed: 5, CommittedTerm: 3, Term: 3}, true},
		"agreed on, and the term is not told": {Log{Committed: 3}, false},
	} {
		if got := g.parts(&c.log, at); got != c.parts {
			t.Errorf("%s: %t", name, got)
		}
	}
	g.Term = func(index uint64) uint64 { return map[uint64]uint64{4: 4, 5: 4}[index] } // it let go of the others
	for log, parts := range map[Log]bool{
		{Committed: 3, CommittedTerm: 2}: false, {Committed: 3, CommittedTerm: 4}: false,
		{Committed: 3, CommittedTerm: 7}: true, {Committed: 9, CommittedTerm: 4}: false,
		{Committed: 9, CommittedTerm: 3}: true,
	} {
		if got := g.parts(&log, at); got != parts {
			t.Errorf("without what is let go, %+v: %t", log, got)
		}
	}
	g = ground(1, 2, 2, 4, 4)
	for _, c := range []struct {
		e   Entry
		has bool
	}{
		{Entry{Index: 4, Term: 4}, true}, {Entry{Index: 6, Term: 4}, false}, {Entry{Index: 9, Term: 3}, true},
		{Entry{Index: 4, Term: 7}, true}, {Entry{Index: 6, Term: 7}, false},
	} {
		if got := g.has(c.e); got != c.has {
			t.Errorf("%+v: %t", c.e, got)
		}
	}
}

// siblings answer the node us-2 with these logs.
type siblings struct {
	t       *testing.T
	network *memory.Network
	asks    transport.Transport
	logs    map[string]*atomic.Pointer[Log]
}

func newSiblings(t *testing.T, logs map[string]Log) *siblings {
	network := memory.NewNetwork(clock.Real, 1)
	s := &siblings{t, network, network.Node("us-2"), map[string]*atomic.Pointer[Log]{}}
	t.Cleanup(func() { _ = s.asks.Close() })
	for name, log := range logs {
		at := s.network.Node(name)
		p := new(atomic.Pointer[Log])
		p.Store(&log)
		s.logs[name] = p
		questions := peer.NewRegistry(func() error { return nil }, nil)
		Register(questions, "us", name, NewMemory(), func(uint64, uint64) (uint64, Log) { return 0, *p.Load() },
			func(context.Context, Question) Part { return Part{} })
		if err := at.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = at.Close() })
	}
	return s
}

// check is a check of us-2, at a start.
func (s *siblings) check(g Ground, m *Memory, to io.Writer) (*Check, *Agreed) {
	names, agreed := []string{}, new(Agreed)
	for name := range s.logs {
		names = append(names, name)
	}
	slices.Sort(names)
	g.Logger = slog.New(slog.NewTextHandler(to, nil))
	return NewCheck(Config{ID: 2, Node: "us-2", Region: "us", Disk: Own{Disk: Disk{Starts: 2}}, Last: g.Committed(),
		Siblings: func() []string { return names }, Agreed: agreed, Memory: m, Ground: g,
		Timeout: time.Minute, Clock: clock.Real, Client: peer.NewClient(s.asks)}), agreed
}

// TestWhatIsOwedOutlastsTheProcess: a node is told what was agreed on, and lacks it; who told it is gone when it starts
// again. Once it has it, or what came in its place, nothing is owed.
func TestWhatIsOwedOutlastsTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "HEARD")
	told := newSiblings(t, map[string]Log{"us-1": {Ends: 9, Committed: 9, CommittedTerm: 4}})
	check, _ := told.check(ground(1, 2, 2), recollected(t, durable.OS, path, quiet), io.Discard)
	if err := check.Ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	alone := newSiblings(t, nil)
	upTo := func(g Ground) uint64 {
		_, agreed := alone.check(g, recollected(t, durable.OS, path, quiet), io.Discard)
		index, _ := agreed.UpTo()
		return index
	}
	for range 2 {
		if got := upTo(ground(1, 2, 2)); got != 9 {
			t.Errorf("at the next start: up to %d", got)
		}
	}
	if got := upTo(ground(1, 2, 2, 5)); got != 0 {
		t.Errorf("after its region went on: up to %d", got)
	}
	if got := upTo(ground(1, 2, 2)); got != 0 {
		t.Errorf("that is over: up to %d", got)
	}
}

// TestWhoIsOfAnotherHistory says nothing of what was agreed on, of whatever term, and it is told once. Where most
// voters are of another one this node stops.
func TestWhoIsOfAnotherHistory(t *testing.T) {
	said := new(bytes.Buffer)
	other := Log{Ends: 9, Committed: 3, CommittedTerm: 7}
	m := NewMemory()
	m.Owe(Entry{9, 7, "us-1"})
	s := newSiblings(t, map[string]Log{"us-1": other, "us-3": {Ends: 4, Committed: 4, CommittedTerm: 4}})
	check, agreed := s.check(ground(1, 2, 4, 4, 4), m, said)
	if index, _ := agreed.UpTo(); index != 9 {
		t.Errorf("up to %d before it is known of which history that was", index)
	}
	if err := check.Ask(t.Context()); err != nil {
		t.Errorf("one of three is of another history: %v", err)
	}
	if index, _ := agreed.UpTo(); !agreed.Parted(1) || agreed.Parted(3) || index != 4 || m.Owed() != (Entry{}) {
		t.Errorf("parted %t and %t, up to %d, owes %+v", agreed.Parted(1), agreed.Parted(3), index, m.Owed())
	}
	if n := strings.Count(said.String(), "it has two histories"); n != 1 || !strings.Contains(said.String(), "us-1") {
		t.Errorf("told %d times: %s", n, said)
	}
	s.logs["us-3"].Store(&other)
	check, _ = s.check(ground(1, 2, 4, 4, 4), nil, io.Discard)
	if err := check.Ask(t.Context()); !errors.Is(err, ErrOutvoted) || !strings.Contains(err.Error(), "keep the dir") {
		t.Errorf("most are of another history: %v", err)
	}
}

// TestWhoWasNotHeardIsTold when the wait is over, and who was is not waited for.
func TestWhoWasNotHeardIsTold(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		said := new(bytes.Buffer)
		s := newSiblings(t, map[string]Log{"us-1": {Ends: 5, Committed: 5, CommittedTerm: 4}})
		g := ground(1, 2, 4, 4, 4)
		g.Name = func(id uint64) string { return map[uint64]string{1: "us-1", 3: "us-3"}[id] }
		check, agreed := s.check(g, nil, said)
		agreed.Wait(clock.Real, 2, Patience)
		done, began := make(chan error), time.Now()
		go func() { done <- check.Run(t.Context()) }()
		for time.Since(began) < time.Minute {
			if _, over := agreed.Awaits(g.Voters()); over {
				break
			}
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		agreed.hear(3)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(said.String(), "unheard=[us-3]"); n != 1 {
			t.Errorf("told %d times: %s", n, said)
		}
	})
}
