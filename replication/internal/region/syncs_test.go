package region

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/enginetest"
)

// slowly is a storage whose Sync takes until the test lets it, and what was applied when it began is durable then.
type slowly struct {
	contract.Storage
	began, ends      chan struct{}
	running, overlap atomic.Int32
}

func (s *slowly) Sync() error {
	if s.running.Add(1) > 1 {
		s.overlap.Add(1)
	}
	defer s.running.Add(-1)
	s.began <- struct{}{}
	<-s.ends
	return nil
}

// TestTheStorageIsSyncedByOneAtATime: who comes while a Sync runs waits for one that has what was applied by then, and
// shares it with the others that wait. So does the install of a copy.
func TestTheStorageIsSyncedByOneAtATime(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		e := enginetest.Volatile()
		storage := &slowly{Storage: e, began: make(chan struct{}), ends: make(chan struct{})}
		p, a := newPlace(t, "us", memory(), e, storage).load(), newAuthor(t, "us")
		type synced struct {
			who   string
			index uint64
			err   error
		}
		done := make(chan synced, 8)
		sync := func(who string) {
			go func() {
				index, err := p.Sync()
				done <- synced{who, index, err}
			}()
		}
		p.apply(a.begin(1, "us"), a.frame("a"))
		sync("first")
		<-storage.began
		p.apply(a.frame("b")) // nothing waits for a Sync but who wants one
		for range 3 {
			sync("later")
		}
		virtual.Wait()
		if n := storage.overlap.Load(); n > 0 {
			t.Fatalf("%d calls of Sync came while one ran", n)
		}
		storage.ends <- struct{}{}
		if got := <-done; got != (synced{"first", 2, nil}) {
			t.Errorf("the first one ends as %+v", got)
		}
		<-storage.began
		virtual.Wait()
		if len(done) > 0 {
			t.Errorf("%+v before there was a Sync behind it", <-done)
		}
		sync("last") // too late for that one
		virtual.Wait()
		storage.ends <- struct{}{}
		for range 3 {
			if got := <-done; got != (synced{"later", 3, nil}) {
				t.Errorf("who waited ends as %+v", got)
			}
		}
		<-storage.began
		copied := p.copyHere("/copy")
		installed := make(chan error, 1)
		go func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			installed <- p.config.replace(p.syncs, "/copy", copied.Metadata())
		}()
		virtual.Wait()
		storage.ends <- struct{}{}
		if got := <-done; got != (synced{"last", 3, nil}) {
			t.Errorf("the last one ends as %+v", got)
		}
		<-storage.began
		storage.ends <- struct{}{}
		if err := <-installed; err != nil {
			t.Errorf("install: %v", err)
		}
		if n := storage.overlap.Load(); n > 0 {
			t.Errorf("%d calls of Sync came while one ran", n)
		}
	})
}

// A Sync that failed counts for everybody, whoever wanted it and whatever the next one says, and ends the node. That
// there is no room does neither.
func TestASyncThatFailedCountsForEverybody(t *testing.T) {
	p, f := runningFailing(t)
	f.sync = errFull
	if _, err := p.Sync(); !errors.Is(err, errFull) || !p.ends.by(nil) {
		t.Errorf("without room: %v, ended by %v", err, p.ends.told)
	}
	f.sync = nil
	if _, err := p.Sync(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	broken := errors.New("input/output error")
	f.sync = broken
	if _, err := p.Sync(); !errors.Is(err, broken) || !p.ends.by(broken) {
		t.Errorf("%v, ended by %v", err, p.ends.told)
	}
	f.sync = nil
	if index, err := p.Sync(); !errors.Is(err, broken) {
		t.Errorf("durable up to %d, %v, behind a sync that failed", index, err)
	}
}

// So does what cannot be kept of a storage that keeps nothing itself.
func TestWhatCannotBeKeptEndsTheNode(t *testing.T) {
	e := enginetest.Volatile()
	f := &failing{Storage: e, copy: errors.New("no copy")}
	p, a := newPlace(t, "us", memory(), e, f).load(), newAuthor(t, "us")
	p.apply(a.begin(1, "us"), a.frame("a"))
	if _, err := p.Sync(); !errors.Is(err, f.copy) || !p.ends.by(f.copy) {
		t.Errorf("%v, ended by %v", err, p.ends.told)
	}
}
