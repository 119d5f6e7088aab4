package region

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

var errFull = fmt.Errorf("disk: %w", syscall.ENOSPC)

// patience makes room after some tries.
type patience struct {
	tries, found int
	after        int // 0: never, and nobody waits longer
	room         func()
}

func (p *patience) Await(err error) bool {
	if !errors.Is(err, syscall.ENOSPC) {
		panic(err)
	}
	if p.tries++; p.tries == p.after {
		p.room()
	}
	return p.after > 0
}

func (p *patience) Found() { p.found++ }

// TestATailThatFindsNoRoomIsWaitedFor, and nothing takes its place before; a node that ends meanwhile has gone nowhere.
func TestATailThatFindsNoRoomIsWaitedFor(t *testing.T) {
	for _, w := range ways[:2] {
		for _, after := range []int{3, 0} {
			s, disk := newScript(t), vfs.NewCrashableMem()
			w.prepare(t, s, pebblefs.New(disk))
			e := enginetest.Volatile()
			p := newPlace(t, "us", pebblefs.New(disk), e, e).load()
			wait := &patience{after: after, room: func() { p.full = nil }}
			p.patient.room = wait
			p.full = errFull
			err := p.Apply(p.enter(1, s.old...))
			if after == 0 {
				if !errors.Is(err, errFull) || wait.tries != 1 || wait.found != 0 {
					t.Errorf("%s: %v after %d tries", w.name, err, wait.tries)
				}
				continue
			}
			if err != nil || wait.tries != after || wait.found != 1 || len(p.saved) != after+1 {
				t.Fatalf("%s: %v after %d tries, %d times found, %d saved", w.name, err, wait.tries, wait.found,
					len(p.saved))
			}
			p.log.last = p.index
			w.equip(p)
			if err := w.enter(p, s); err != nil || !slices.Equal(p.commands(), w.want) {
				t.Errorf("%s: %v, has %q", w.name, err, p.commands())
			}
		}
	}
}

// TestAStateThatFindsNoRoomIsWaitedFor: wherever the disk is full for a while, in the write or in the sync behind it,
// on whatever way to another state and with whatever storage. A start does not wait.
func TestAStateThatFindsNoRoomIsWaitedFor(t *testing.T) {
	for _, w := range ways {
		for _, kind := range kinds {
			t.Run(w.name+"/"+kind.name, func(t *testing.T) {
				waited := 0
				for step, reached := 1, true; reached; step += 1 + step/2 {
					s, disk := newScript(t), vfs.NewCrashableMem()
					calls, full := 0, false
					fs := pebblefs.New(errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
						grows := op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpFileWrite ||
							op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpLink || op.Kind == errorfs.OpRename
						if !full || !grows || strings.Contains(op.Path, "staging") {
							return nil
						}
						if calls++; calls >= step {
							return syscall.ENOSPC
						}
						return nil
					})))
					p := running(t, s, disk, fs, w, kind.open)
					wait := &patience{after: 2, room: func() { full = false }}
					p.patient.room = wait
					full = true
					if err := w.enter(p, s); err != nil {
						t.Fatalf("step %d: %v", step, err)
					}
					reached, full = calls >= step, false
					waited += wait.tries
					p.check()
					if got := p.commands(); !slices.Equal(got, w.want) {
						t.Fatalf("step %d: commands %q", step, got)
					}
					q := opened(t, disk.CrashClone(vfs.CrashCloneCfg{}), kind.open)
					if got := q.commands(); !slices.Equal(got, w.want) {
						t.Fatalf("step %d: after a crash: commands %q", step, got)
					}
				}
				if waited == 0 {
					t.Error("there was always room")
				}
			})
		}
	}
}

// TestAStartIsToldThatThereIsNoRoom: whoever started it has to make some.
func TestAStartIsToldThatThereIsNoRoom(t *testing.T) {
	e := enginetest.Volatile()
	p := newPlace(t, "us", memory(), e, e)
	p.patient.room = &patience{}
	if err := p.patient.through(func() error { return errFull }); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if _, err := p.Load(&timeline.State{Region: "us"}); err != nil || !p.patient.loaded {
		t.Error(err)
	}
}

// TestNobodyWaitsForWhoWaitsForRoom: what is durable by then is told, so that the log before it goes, and whoever wants
// to take hold of the state is told that there is no room; both before the wait and in it.
func TestNobodyWaitsForWhoWaitsForRoom(t *testing.T) {
	for _, kind := range kinds {
		virtual.Test(t, func(t *testing.T) {
			s, disk, w := newScript(t), vfs.NewCrashableMem(), ways[0]
			p := running(t, s, disk, pebblefs.New(disk), w, kind.open)
			before := p.index
			wait := &standstill{make(chan struct{}), make(chan struct{})}
			p.patient.room = wait
			p.full = errFull
			waits := make(chan error, 2)
			early := func() {
				_, err := p.Hold("/early")
				waits <- err
			}
			p.mu.Lock()
			go early()
			virtual.Wait()
			ended := make(chan error, 1)
			go func() { ended <- p.patient.through(func() error { return p.full }) }()
			<-wait.waits
			if err := <-waits; !errors.Is(err, errFull) {
				t.Errorf("%s: held before: %v", kind.name, err)
			}
			if _, err := p.Hold("/late"); !errors.Is(err, errFull) {
				t.Errorf("%s: held meanwhile: %v", kind.name, err)
			}
			if index, err := p.Sync(); err == nil && index > before || err != nil && !errors.Is(err, errFull) {
				t.Errorf("%s: durable up to %d of %d, %v", kind.name, index, before, err)
			}
			p.full = nil
			close(wait.goes)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			p.mu.Unlock()
			if h, err := p.Hold("/afterwards"); err != nil {
				t.Errorf("%s: afterwards: %v", kind.name, err)
			} else if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// standstill waits until it is to go on.
type standstill struct{ waits, goes chan struct{} }

func (s *standstill) Await(error) bool {
	close(s.waits)
	<-s.goes
	return true
}

func (s *standstill) Found() {}
