package clock_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

func TestWhatIsLateIsLeftToItself(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		began, hangs := time.Now(), make(chan struct{})
		late := func() bool { return time.Since(began) >= 5*time.Second }
		left, err := clock.Unless(clock.Real, 2*time.Second, late, func() error { <-hangs; return nil })
		if took := time.Since(began); !left || err != nil || took != 6*time.Second {
			t.Errorf("after %v left to itself: %t, %v", took, left, err)
		}
		close(hangs)
	})
}

func TestWhatIsNotLateAnswers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		want := errors.New("broken")
		late := func() bool { return false }
		left, err := clock.Unless(clock.Real, time.Second, late, func() error { time.Sleep(time.Minute); return want })
		if left || !errors.Is(err, want) {
			t.Errorf("left to itself: %t, %v", left, err)
		}
	})
}

func TestAPanicIsTheCallers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		defer func() {
			if p := recover(); p != "broken" {
				t.Errorf("%v came", p)
			}
		}()
		clock.Unless(clock.Real, time.Second, func() bool { return false }, func() error { panic("broken") })
	})
}
