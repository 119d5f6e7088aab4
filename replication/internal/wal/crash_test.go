package wal

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// crashPoints calls crash before every operation that changes the filesystem.
func crashPoints(fs *vfs.MemFS, crash func()) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			crash()
		}
		return nil
	}))
}

// matchesAny says whether a log equals one of the states, and how it differs from the last if it does not.
func matchesAny(l *Log, states []model) (err error) {
	for i := range states {
		if err = states[i].differs(l); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%d states, none fits; the last: %w", len(states), err)
}

// TestCrash takes a clone of the disk as a crash would leave it before every single write, sync and rename, with
// nothing, some or all of what was not synced, and checks that each holds all that was acknowledged (invariant 1) and
// nothing that was never appended.
func TestCrash(t *testing.T) {
	for seed := uint64(0); seed < 10; seed += raceShare {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { crashRun(t, seed, func(fs vfs.FS) vfs.FS { return fs }) })
	}
	if raceShare > 1 {
		return // one of them takes half a minute then
	}
	for seed := uint64(10); seed < 12; seed++ {
		t.Run(fmt.Sprint("encrypted ", seed), func(t *testing.T) { crashRun(t, seed, encrypted(t)) })
	}
}

// encrypted returns what puts encryption over a filesystem, with one key.
func encrypted(t *testing.T) func(vfs.FS) vfs.FS {
	line, _ := atrest.NewKey()
	keys, err := atrest.ParseKeys([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return func(fs vfs.FS) vfs.FS { return atrest.New(fs, keys) }
}

func crashRun(t *testing.T, seed uint64, over func(vfs.FS) vfs.FS) {
	disk := vfs.NewCrashableMem()
	s := &script{random: newRandom(seed), term: 1, epoch: 1}
	dice := newRandom(seed + 1000)
	states := []model{{}} // what a crash may leave: the last durable state and what came after
	clones := 0
	check := func() {
		percent := []int{0, 0, 30, 60, 90, 100}[dice.IntN(6)]
		clone := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: dice})
		clones++
		l, err := tryOpen(over(clone))
		if err != nil {
			t.Fatalf("clone %d with %d%% of what was not synced: %v", clones, percent, err)
		}
		if err := matchesAny(l, states); err != nil {
			t.Fatalf("clone %d with %d%% of what was not synced: %v", clones, percent, err)
		}
		// What was recovered once stays, also when the next crash comes at once, and it can be appended to.
		last := l.LastIndex()
		mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(last+1, 1000, nil)}})
		again := openLog(t, over(clone.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: dice})))
		if again.LastIndex() != last+1 {
			t.Fatalf("clone %d: %d entries after a second crash, want %d", clones, again.LastIndex(), last+1)
		}
		if err := checkSeek(again); err != nil {
			t.Fatalf("clone %d: %v", clones, err)
		}
	}
	fs := over(crashPoints(disk, func() {
		if dice.IntN(4) == 0 {
			check()
		}
	}))
	l := openLog(t, fs)
	for step := range 40 {
		var err error
		sync := true
		switch n := s.random.IntN(100); {
		case n < 80:
			ws, steps := s.writes()
			sync = s.random.IntN(4) > 0
			states = append(states, steps...)
			err = l.Append(ws, sync)
		case n < 92:
			if err = l.Append(nil, true); err == nil {
				index := s.compact()
				states = []model{s.model.clone()} // a log that holds more fits as well
				err = l.Compact(index)
			}
		case n < 95:
			index, term, hs := s.restart()
			states = append(states, s.model.clone())
			err = l.Reset(index, term, hs)
		default:
			if err = l.Close(); err == nil {
				l = openLog(t, fs)
			}
		}
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if sync {
			states = []model{s.model.clone()}
		}
		if step%4 == 0 {
			check()
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if clones < 40 {
		t.Fatalf("only %d crashes", clones)
	}
}

// TestKilledThenPowerCut kills a process, whose last writes the operating system still has in memory, opens the log,
// which sees them, and cuts the power: what Open returned must be durable.
func TestKilledThenPowerCut(t *testing.T) {
	disk := vfs.NewCrashableMem()
	l := openLog(t, disk)
	if err := l.Append(
		[]Write{{HardState: newHardState(4, 1, 0), Entries: []*raftpb.Entry{entry(1, 4, []byte("x"))}}}, false,
	); err != nil {
		t.Fatal(err)
	}
	if l = openLog(t, disk); l.LastIndex() != 1 || l.HardState().GetTerm() != 4 {
		t.Fatalf("last index %d, %v after a kill", l.LastIndex(), l.HardState())
	}
	if l = openLog(t, disk.CrashClone(vfs.CrashCloneCfg{})); l.LastIndex() != 1 || l.HardState().GetTerm() != 4 {
		t.Fatalf("last index %d, %v after a power cut", l.LastIndex(), l.HardState())
	}
}
