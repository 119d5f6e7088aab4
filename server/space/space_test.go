package space

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// node is what a watch sees and does.
type node struct {
	mu sync.Mutex // guards what follows the watch
	*Watch
	used     int64
	free     uint64
	files    uint64 // that can be made, of 100,000
	lacks    error
	raised   bool
	calls    int
	reclaims int
	fail     error
	log      bytes.Buffer
}

// with has f read or change what the watch sees.
func (n *node) with(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

func (n *node) told() (calls int)       { n.with(func() { calls = n.calls }); return calls }
func (n *node) isRaised() (raised bool) { n.with(func() { raised = n.raised }); return raised }
func (n *node) logged() (text string)   { n.with(func() { text = n.log.String() }); return text }

// Write is that of the log.
func (n *node) Write(p []byte) (count int, err error) {
	n.with(func() { count, err = n.log.Write(p) })
	return count, err
}

func newNode(t *testing.T) *node {
	n := &node{free: 1 << 30, files: 512}
	n.Watch = New(Config{
		QuotaBytes: func() int64 { return 1000 }, ReserveBytes: 4096,
		Used: func() (used int64) { n.with(func() { used = n.used }); return used },
		Free: func() (free uint64, err error) { n.with(func() { free = n.free }); return free, nil },
		Files: func() (total, free uint64, err error) {
			n.with(func() { free = n.files })
			return 100_000, free, nil
		},
		Lacks:   func() (err error) { n.with(func() { err = n.lacks }); return err },
		Reclaim: func(context.Context) error { n.with(func() { n.reclaims++ }); return nil },
		Raised:  func() bool { return n.isRaised() },
		Raise: func(context.Context) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.calls++
			n.raised = n.fail == nil
			return n.fail
		},
		Ballast: &Ballast{}, Clock: clock.Real, Logger: slog.New(slog.NewTextHandler(n, nil)),
	})
	return n
}

// watched runs f with a node whose watch runs, in virtual time.
func watched(t *testing.T, f func(n *node)) { watchedAs(t, func(*node) {}, f) }

// watchedAs is watched with a node that prepare has changed before.
func watchedAs(t *testing.T, prepare, f func(n *node)) {
	t.Helper()
	virtual.Test(t, func(t *testing.T) {
		n := newNode(t)
		prepare(n)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx); close(done) }()
		f(n)
		cancel()
		<-done
	})
}

func pass(d time.Duration) { time.Sleep(d); virtual.Wait() }

func TestTheAlarmIsRaised(t *testing.T) {
	for name, trouble := range map[string]func(*node){
		"quota": func(n *node) { n.with(func() { n.used = 1001 }) },
		"disk":  func(n *node) { n.with(func() { n.free = 4095 }) },
		"files": func(n *node) { n.with(func() { n.files = 511 }) },
		"store": func(n *node) { n.with(func() { n.lacks = errors.New("no room for a compaction") }) },
	} {
		watched(t, func(n *node) {
			pass(time.Hour)
			reclaimed := func() (times int) { n.with(func() { times = n.reclaims }); return times }
			if n.told() != 0 || reclaimed() != 0 {
				t.Fatalf("%s: raised without a reason", name)
			}
			trouble(n)
			pass(time.Second)
			if n.told() != 1 {
				t.Fatalf("%s: raised %d times", name, n.told())
			}
			pass(10 * time.Minute)
			if n.told() < 10 || n.told() > 12 {
				t.Errorf("%s: told %d times in ten minutes, want once a minute", name, n.told())
			}
			if reclaimed() < 50 || reclaimed() > 62 {
				t.Errorf("%s: room was given back %d times in ten minutes, want every ten seconds", name, reclaimed())
			}
			before := n.told()
			n.with(func() { n.raised = false }) // disarmed, and nothing done about it
			pass(time.Second)
			if again := name != "quota"; n.isRaised() != again {
				t.Errorf("%s: a second after it was disarmed it is raised: %t", name, !again)
			}
			pass(pardonInterval)
			if n.told() != before+1 || !n.isRaised() {
				t.Errorf("%s: not raised again", name)
			}
			n.with(func() { n.used, n.free, n.files, n.lacks = 0, 1<<30, 512, nil })
			before = n.told()
			pass(time.Hour)
			if n.told() != before {
				t.Errorf("%s: raised although it is over", name)
			}
		})
	}
}

// Who disarms the alarm about the quota over and over has the store grow by a bounded amount, and after it was within
// its quota again by as much.
func TestThePardonHasABound(t *testing.T) {
	watched(t, func(n *node) {
		const step = 1 << 20
		for round := range 2 {
			n.with(func() { n.used = 1001 })
			pass(time.Second)
			for range 1000 {
				n.with(func() { n.raised = false })
				pass(time.Second)
				n.with(func() { // what comes in while no alarm is raised
					if !n.raised {
						n.used += step
					}
				})
			}
			n.with(func() {
				if n.used < leastPardon || n.used > 1001+leastPardon+2*step {
					t.Errorf("round %d: the store has %d bytes", round, n.used)
				}
				n.used, n.raised = 0, false
			})
			pass(time.Minute)
		}
	})
}

// What a process saw before it stood still raises no alarm when it goes on: an operator may have made room and disarmed
// it since. And what waits for a primary is given up.
func TestWhatWasSeenLongAgoRaisesNothing(t *testing.T) {
	prepare := func(n *node) {
		lacks := n.Lacks
		n.Lacks = func() error {
			err := lacks()
			if err != nil {
				n.with(func() { n.lacks, n.raised = nil, false }) // an operator's, while this process stands still
				time.Sleep(20 * time.Second)
			}
			return err
		}
		raise := n.Raise
		n.Raise = func(ctx context.Context) error {
			if at, ok := ctx.Deadline(); !ok || time.Until(at) > raiseTimeout {
				t.Errorf("it waits until %v", at)
			}
			return raise(ctx)
		}
	}
	watchedAs(t, prepare, func(n *node) {
		n.with(func() { n.lacks = errors.New("no room for a compaction") })
		pass(time.Minute)
		if n.isRaised() || n.told() != 0 || strings.Contains(n.logged(), notRaised) {
			t.Errorf("raised %t, after %d tries: %s", n.isRaised(), n.told(), n.logged())
		}
		n.with(func() { n.used = 1001 })
		pass(time.Second)
		if !n.isRaised() {
			t.Error("what holds is not raised")
		}
	})
}

// A filesystem that has no bound of files lacks none, and of a small one a part is enough.
func TestFilesOfAFilesystem(t *testing.T) {
	for _, c := range []struct {
		total, free uint64
		err         error
		lacks       bool
	}{
		{total: 0, free: 0}, {total: 1600, free: 100}, {total: 1600, free: 99, lacks: true},
		{total: 1 << 20, free: 512}, {total: 1 << 20, free: 511, lacks: true},
		{total: 1 << 20, err: errors.New("not known on this system")},
	} {
		w := New(Config{Files: func() (uint64, uint64, error) { return c.total, c.free, c.err }})
		if w.lacksFiles() != c.lacks {
			t.Errorf("%+v", c)
		}
	}
}

// A disk that takes long, or whose ballast is made slowly, keeps no alarm away but those about what is slow: of these
// the log says, once, that they cannot be raised.
func TestALookThatTakesLong(t *testing.T) {
	const long = raiseTimeout + time.Second
	slow := func(n *node) {
		free := n.Free
		n.Free = func() (uint64, error) { time.Sleep(long); return free() }
	}
	watchedAs(t, slow, func(n *node) {
		n.with(func() { n.used = 1001 })
		pass(time.Minute)
		if !n.isRaised() || strings.Contains(n.logged(), notRaised) {
			t.Errorf("not raised after a disk that is slow was asked: %s", n.logged())
		}
	})
	hung := func(n *node) {
		files := n.Files
		n.Files = func() (uint64, uint64, error) { time.Sleep(long); return files() }
	}
	watchedAs(t, hung, func(n *node) {
		n.with(func() { n.files = 1 })
		pass(time.Minute)
		if told := strings.Count(n.logged(), notRaised); n.isRaised() || n.told() != 0 || told != 1 {
			t.Errorf("raised %t, the log tells %d times why not: %s", n.isRaised(), told, n.logged())
		}
	})
}

// An alarm that is raised is not said to be one that cannot be, however long it takes to see that it has to stay.
func TestAnAlarmThatIsRaisedMayTakeLongToSee(t *testing.T) {
	var slow atomic.Bool
	watchedAs(t, func(n *node) {
		files := n.Files
		n.Files = func() (uint64, uint64, error) {
			if slow.Load() {
				time.Sleep(raiseTimeout + time.Second)
			}
			return files()
		}
	}, func(n *node) {
		n.with(func() { n.files = 1 })
		pass(time.Second)
		slow.Store(true)
		pass(3 * tellInterval)
		if !n.isRaised() || strings.Contains(n.logged(), notRaised) {
			t.Errorf("raised %t: %s", n.isRaised(), n.logged())
		}
	})
}

func TestRaisingIsTriedAgain(t *testing.T) {
	watched(t, func(n *node) {
		n.with(func() { n.fail, n.used = errors.New("no primary"), 2000 })
		pass(10 * time.Second)
		if n.told() < 10 {
			t.Fatalf("%d tries", n.told())
		}
		n.with(func() { n.fail = nil })
		pass(time.Second)
		if !n.isRaised() {
			t.Fatal("not raised")
		}
	})
}

// The watch looks ten times a second. What does not change is told once, and an alarm is said to be raised when it is.
func TestTheLogIsToldOnce(t *testing.T) {
	watched(t, func(n *node) {
		n.with(func() { n.fail, n.used = errors.New("no primary"), 2000 })
		pass(10 * time.Second)
		if text := n.logged(); strings.Contains(text, "is raised") || strings.Count(text, "no primary") != 1 {
			t.Errorf("an alarm that cannot be raised is told so:\n%.2000s", text)
		}
		n.with(n.log.Reset)
		n.with(func() { n.fail = nil })
		pass(10 * time.Minute)
		if text := n.logged(); strings.Count(text, "NOSPACE is raised") != 1 || strings.Count(text, "\n") != 1 {
			t.Errorf("an alarm that is raised is told so:\n%.2000s", text)
		}
	})
	watchedAs(t, func(n *node) {
		n.Free = func() (uint64, error) { return 0, errors.New("statfs fails") }
	}, func(n *node) {
		pass(10 * time.Second)
		if text := n.logged(); strings.Count(text, "statfs fails") != 1 {
			t.Errorf("a disk that cannot be watched is told so:\n%.2000s", text)
		}
	})
	watchedAs(t, func(n *node) {
		n.Ballast = &Ballast{Dir: filepath.Join(t.TempDir(), "gone"), Bytes: 4096}
	}, func(n *node) {
		pass(10 * time.Second)
		if text := n.logged(); strings.Count(text, "ballast") == 0 || strings.Count(text, "\n") != 1 {
			t.Errorf("a ballast that cannot be made is told so:\n%.2000s", text)
		}
	})
}

func (b *Ballast) bytes(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(b.Dir, ballastName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err != nil {
		return 0
	}
	return info.Size()
}

func TestBallast(t *testing.T) {
	const step, reserve = 64 << 10, 1 << 20
	const part = step / parts
	b := &Ballast{Dir: t.TempDir(), Bytes: step}
	for i, s := range []struct {
		free                 int64
		has                  int64
		start, raised, lacks bool
		full                 bool
	}{
		{free: 0, start: true, full: true}, {free: leastStart - 1, start: true, full: true},
		{free: leastStart, start: true}, {free: 100}, {free: reserve}, {free: reserve + step - 1}, // an alarm
		{free: reserve + step, has: step}, {free: reserve + step, has: 2 * step}, {free: 2 << 20, has: 2 * step},
		{free: step, has: 2 * step}, {free: step - 1, has: step}, {free: 0, has: step}, // the last is not for all
		{free: 2 * step, has: 2 * step}, {free: step, start: true, has: 2 * step},
		{free: step - 1, start: true, has: step}, {free: part, start: true, has: step},
		{free: part - 1, start: true, has: step - part}, {free: 0, start: true, has: step - 2*part},
		{free: part, lacks: true, has: step - 3*part}, {free: step, lacks: true, has: step - 3*part}, // it lacks more
		{free: 2 * part, lacks: true, has: step - 4*part}, {free: 0, lacks: true, has: step - 4*part}, // for starts
		{free: 0, start: true, has: step - 5*part}, {free: 0, start: true, has: step - 6*part},
		{free: 0, start: true, has: step - 7*part}, {free: 0, start: true}, {free: 0, start: true, full: true},
		{free: 2*step - 1}, {free: 2 * step, has: step}, {free: reserve, has: step},
		{free: reserve, raised: true, has: 2 * step}, // it is raised already
	} {
		settle := func() error { return b.Settle(s.free, reserve, s.raised, s.lacks, slog.New(slog.DiscardHandler)) }
		if s.start {
			settle = func() error { return b.Start(s.free, slog.New(slog.DiscardHandler)) }
		}
		if err := settle(); err != nil && !s.full || s.full && !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d: %v", i, err)
		}
		if got := b.bytes(t); got != s.has {
			t.Errorf("%d: with %d free the ballast has %d bytes, want %d", i, s.free, got, s.has)
		}
	}
	if names, err := os.ReadDir(b.Dir); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// disk is one that somebody else fills, as often as he can.
type disk struct {
	*Ballast
	t      *testing.T
	total  int64
	others int64
}

func (d *disk) free() int64 { return d.total - d.others - d.bytes(d.t) }

func (d *disk) settle(reserve int64) {
	d.t.Helper()
	for range 3 * Steps {
		if err := d.Settle(d.free(), reserve, true, false, slog.New(slog.DiscardHandler)); err != nil {
			d.t.Fatal(err)
		}
	}
}

// fill takes all that is free, also what the running node gives up then.
func (d *disk) fill(reserve int64) {
	d.t.Helper()
	for range Steps + 1 {
		d.others += d.free()
		d.settle(reserve)
	}
}

// A node starts on a disk that was filled to the last byte, whatever was given up before, as often as it is filled: all
// that is asked is that two steps were free at times, by a deletion here or elsewhere, once in so many fillings as the
// last step has parts.
func TestANodeStartsHoweverOftenTheDiskIsFilled(t *testing.T) {
	const step, reserve = 64 << 10, 1 << 20
	d := &disk{Ballast: &Ballast{Dir: t.TempDir(), Bytes: step}, t: t, total: 4 << 20}
	d.settle(reserve)
	for i := range 5 * parts {
		d.fill(reserve)
		if d.free() != 0 {
			t.Fatalf("filling %d: %d free", i, d.free())
		}
		err := d.Start(d.free(), slog.New(slog.DiscardHandler))
		if err != nil || d.free() < step/parts {
			t.Fatalf("filling %d: %d free for the start, %v", i, d.free(), err)
		}
		if i%parts == parts-1 {
			d.others -= 3 * step // deleted
			d.settle(reserve)
		}
	}
}

// What lacks room is given parts of the last step, one after the other, but for those that are kept for starts.
func TestWhatLacksRoomIsGivenSome(t *testing.T) {
	const step = 64 << 10
	b := &Ballast{Dir: t.TempDir(), Bytes: step}
	if err := os.WriteFile(b.path(), make([]byte, step), 0o644); err != nil {
		t.Fatal(err)
	}
	watchedAs(t, func(n *node) { n.Ballast, n.free = b, 100 }, func(n *node) {
		pass(time.Minute)
		if got := b.bytes(t); got != step {
			t.Errorf("%d bytes are left of %d, and nothing was lacking", got, step)
		}
		n.with(func() { n.lacks = errors.New("no room") })
		pass(2*reliefInterval + time.Second)
		if got := b.bytes(t); got != step-2*step/parts {
			t.Errorf("%d bytes are left of %d after two times", got, step)
		}
		pass(time.Minute)
		if got := b.bytes(t); got != startParts*step/parts {
			t.Errorf("%d bytes are left of %d", got, step)
		}
	})
}

// An alarm that was raised is not raised over and over where it is not applied: the log of this node may lack room.
func TestAnAlarmThatIsNotAppliedHere(t *testing.T) {
	watched(t, func(n *node) {
		n.with(func() { n.Raised, n.lacks = func() bool { return false }, errors.New("no room") })
		pass(time.Minute)
		if n.told() < 10 || n.told() > 13 || strings.Count(n.logged(), "NOSPACE is raised") != 1 {
			t.Errorf("raised %d times in a minute:\n%.2000s", n.told(), n.logged())
		}
	})
}

// A ballast that a version before has made, and one that was cut short, are what they hold.
func TestABallastOfBefore(t *testing.T) {
	const step = 64 << 10
	d := &disk{Ballast: &Ballast{Dir: t.TempDir(), Bytes: step}, t: t, total: 1 << 20}
	for _, size := range []int64{step, step + step/2} {
		if err := os.WriteFile(d.path(), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
		if d.settle(0); d.bytes(t) != Steps*step {
			t.Errorf("%d bytes, from %d", d.bytes(t), size)
		}
	}
}

func TestDisk(t *testing.T) {
	if total, free, err := Disk(t.TempDir()); err == nil && (total == 0 || free > total) {
		t.Errorf("%d free of %d", free, total)
	}
}
