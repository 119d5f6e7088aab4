package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// box counts how often it is closed.
type box struct{ closed atomic.Int32 }

func (b *box) close() { b.closed.Add(1) }

// life runs f with a lifetime, and returns what its owner was told of failures.
func life(t *testing.T, f func(l *lifetime, b *box)) (told []error) {
	virtual.Test(t, func(t *testing.T) {
		b := &box{}
		fatal := make(chan error, 10)
		l := newLifetime(quiet, b, func(err error) { fatal <- err })
		f(l, b)
		l.halt(ErrStopped)
		l.wait()
		if l.Spawn(func() { t.Error("spawned after the end") }) {
			t.Error("spawns after the end")
		}
		virtual.Wait()
		close(fatal)
		for err := range fatal {
			told = append(told, err)
		}
	})
	return told
}

func TestFirstFailureCounts(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	told := life(t, func(l *lifetime, b *box) {
		l.run(func(ctx context.Context) error {
			<-ctx.Done()
			return second // a consequence
		})
		l.run(func(context.Context) error { return first })
		<-l.Context().Done()
		l.fail(second)
		if err := l.cause(); !errors.Is(err, ErrStopped) || !errors.Is(err, first) || errors.Is(err, second) {
			t.Errorf("ended by %v", err)
		}
		virtual.Wait()
		if b.closed.Load() == 0 {
			t.Error("still takes work")
		}
	})
	if len(told) != 1 || told[0] != first {
		t.Errorf("told %v", told)
	}
}

func TestPanicStopsTheNode(t *testing.T) {
	told := life(t, func(l *lifetime, _ *box) {
		l.Spawn(func() { panic("tocommit is out of range") })
		<-l.Context().Done()
	})
	if len(told) != 1 || !errors.Is(told[0], ErrInvariant) {
		t.Errorf("told %v", told)
	}
}

func TestStopIsNoFailure(t *testing.T) {
	told := life(t, func(l *lifetime, _ *box) {
		l.run(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		cause := make(chan error, 1)
		go func() { cause <- l.cause() }()
		virtual.Wait()
		if len(cause) != 0 {
			t.Error("has a cause before the end")
		}
		l.halt(ErrStopped)
		if err := <-cause; err != ErrStopped {
			t.Errorf("ended by %v", err)
		}
	})
	if len(told) != 0 {
		t.Errorf("told %v", told)
	}
}

// The owner may stop the group from the callback that tells him of its failure.
func TestOwnerStopsFromOnFatal(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		var l *lifetime
		l = newLifetime(quiet, &box{}, func(error) {
			l.halt(ErrStopped)
			l.wait()
			close(done)
		})
		l.run(func(context.Context) error { return ErrMachine })
		<-done
	})
}

// What raft says when it cannot go on names its cause, however it says so.
func TestAPanicKeepsItsCause(t *testing.T) {
	cause := errors.New("disk on fire")
	for name, say := range map[string]func(){
		"as raft panics itself": func() { panic(fmt.Errorf("entries: %w", cause)) },
		"through its logger":    func() { raftLogger{}.Panicf("unexpected error (%v)", cause) },
		"and in plain words":    func() { raftLogger{}.Panic("entries: ", cause) },
	} {
		func() {
			defer func() {
				if err := broken(recover()); !errors.Is(err, ErrInvariant) || !errors.Is(err, cause) {
					t.Errorf("%s: %v", name, err)
				}
			}()
			say()
		}()
	}
}
