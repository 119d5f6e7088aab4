package console

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// looks counts them, and fails the test if two are made at a time. Each takes as long as it is told.
type looks struct {
	t     *testing.T
	takes time.Duration

	mu            sync.Mutex
	made, givenUp int
	busy          bool
}

func (l *looks) look(ctx context.Context) frame {
	l.mu.Lock()
	if l.busy {
		l.t.Error("two looks at a time")
	}
	l.busy = true
	l.made++
	made := l.made
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.busy = false
	}()
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
		l.mu.Lock()
		l.givenUp++
		l.mu.Unlock()
		time.Sleep(l.takes / 10) // it takes a while to notice
	}
	return frame(fmt.Sprint(made))
}

func (l *looks) figures() (made, givenUp int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made, l.givenUp
}

func joined(t *testing.T, w *watch) *viewer {
	t.Helper()
	v, err := w.join(&places{most: 1, each: 1}, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Nobody looks, nothing is asked; many look, and one picture is made for all of them.
func TestOneLookIsForAll(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		l := &looks{t: t, takes: 100 * time.Millisecond}
		w := newWatch(l.look, time.Second)
		time.Sleep(time.Minute)
		if made, _ := l.figures(); made != 0 {
			t.Errorf("%d looks while nobody looked", made)
		}
		var all []*viewer
		for range 5 {
			all = append(all, joined(t, w))
		}
		for i := range 3 {
			for _, v := range all {
				if got := string(<-v.frames); got != fmt.Sprint(i+1) {
					t.Errorf("picture %s, want %d", got, i+1)
				}
			}
		}
		if made, _ := l.figures(); made != 3 {
			t.Errorf("%d looks for three pictures", made)
		}
		late := joined(t, w)
		if got := string(<-late.frames); got != "3" {
			t.Errorf("who comes later sees picture %s first", got)
		}
		for _, v := range append(all, late) {
			w.leave(v)
		}
		virtual.Wait()
		before, _ := l.figures()
		time.Sleep(time.Minute)
		if made, _ := l.figures(); made != before {
			t.Errorf("%d looks after all had left", made-before)
		}
		w.close()
	})
}

// Whoever does not take what he is sent is sent the newest picture, and keeps nobody waiting.
func TestASlowViewerSeesTheNewest(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		l := &looks{t: t, takes: time.Millisecond}
		w := newWatch(l.look, time.Second)
		slow, quick := joined(t, w), joined(t, w)
		for range 7 {
			<-quick.frames
		}
		virtual.Wait()
		if got := string(<-slow.frames); got != "7" {
			t.Errorf("picture %s, want the 7th", got)
		}
		w.leave(slow)
		w.leave(quick)
		w.close()
	})
}

// A look of which nobody is left to see the end is given up, its picture is shown to nobody, and the next one begins
// when it has ended.
func TestALookForNobodyIsGivenUp(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		l := &looks{t: t, takes: time.Minute}
		w := newWatch(l.look, time.Hour)
		v := joined(t, w)
		time.Sleep(time.Second)
		w.leave(v)
		v = joined(t, w)
		if got := string(<-v.frames); got != "2" {
			t.Errorf("picture %s, want the second", got)
		}
		if made, givenUp := l.figures(); made != 2 || givenUp != 1 {
			t.Errorf("%d looks, %d of them given up", made, givenUp)
		}
		w.leave(v)
		time.Sleep(2 * time.Hour)
		v = joined(t, w)
		if got := string(<-v.frames); got != "3" {
			t.Errorf("after two hours in which nobody looked: picture %s", got)
		}
		w.leave(v)
		w.close()
	})
}

// As many look as may, from one address not all of them, whatever others take; and none when it is over.
func TestViewersAreBounded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		l := &looks{t: t, takes: time.Millisecond}
		w := newWatch(l.look, time.Second)
		anybody, operators := &places{most: 3, each: 2}, &places{most: 1, each: 1}
		joins := func(in *places, from string, want error) (v *viewer) {
			t.Helper()
			v, err := w.join(in, from, time.Now())
			if !errors.Is(err, want) {
				t.Errorf("from %s: %v, want %v", from, err, want)
			}
			return v
		}
		a, b := joins(anybody, "a", nil), joins(anybody, "a", nil)
		joins(anybody, "a", ErrFull)
		c := joins(anybody, "b", nil)
		joins(anybody, "b", ErrFull)
		d := joins(operators, "a", nil)
		joins(operators, "c", ErrFull)
		w.leave(a)
		a = joins(anybody, "c", nil)
		w.leave(d)
		d = joins(operators, "c", nil)
		w.close()
		joins(anybody, "d", ErrEnded)
		before, _ := l.figures()
		time.Sleep(time.Minute)
		if made, _ := l.figures(); made != before {
			t.Error("it looks on after the end")
		}
		for _, v := range []*viewer{a, b, c, d} {
			w.leave(v)
		}
		if len(anybody.taken)+len(operators.taken)+anybody.sum+operators.sum != 0 {
			t.Errorf("all have left: %+v, %+v", anybody, operators)
		}
	})
}

// A look that does not give up does not keep the watch from its end.
func TestALookThatHangsIsNotWaitedFor(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		w := newWatch(func(context.Context) frame { <-hangs; return nil }, time.Second)
		v := joined(t, w)
		virtual.Wait()
		began := time.Now()
		w.close()
		if took := time.Since(began); took != closeTime {
			t.Errorf("it took %v", took)
		}
		w.leave(v)
		close(hangs)
	})
}
