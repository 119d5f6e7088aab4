package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestPacedKeepsItsRate, and counts what is late from when it was due.
func TestPacedKeepsItsRate(t *testing.T) {
	const lasts = 200 * time.Millisecond
	slow := errors.New("slow")
	calls := paced{perSecond: 1000, callers: 4, timeout: time.Minute}.drive(t.Context(), lasts,
		func(_ context.Context, caller int) error {
			if caller == 1 {
				<-time.After(2 * lasts)
				return slow
			}
			return nil
		})
	took, failed := answers(calls)
	if failed != 1 || took.Count() > 150 || took.Count() == 0 {
		t.Errorf("%d answered, %d failed; want 150 at most, and 1", took.Count(), failed)
	}
	for i, c := range calls {
		if c.failed && c.took < 2*lasts {
			t.Errorf("the slow one took %v", c.took)
		}
		if i > 0 && c.due < calls[i-1].due || c.due >= lasts {
			t.Errorf("call %d was due at %v", i, c.due)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	nothing := func(context.Context, int) error { return nil }
	if calls := (paced{1000, 2, time.Minute}).drive(ended, time.Hour, nothing); calls != nil {
		t.Errorf("%d calls after the end", len(calls))
	}
}

// TestSilence is the longest one behind a time, and what it held up is left out.
func TestSilence(t *testing.T) {
	at := func(due, took int, failed bool) call {
		return call{time.Duration(due) * time.Second, time.Duration(took) * time.Second, failed}
	}
	for _, c := range []struct {
		name         string
		calls        []call
		from, within int
		begins, ends int
		kept         int // outside of it
	}{
		{"none", nil, 5, 10, 5, 5, 0},
		{"an earlier one is longer", []call{at(0, 0, false), at(20, 0, false), at(25, 0, false)}, 20, 10, 20, 25, 2},
		{"what fails is no answer",
			[]call{at(1, 0, false), at(4, 2, true), at(5, 3, false), at(9, 0, false)}, 3, 9, 3, 8, 2},
		{"a later one is another", []call{at(1, 0, false), at(4, 0, false), at(30, 0, false)}, 3, 0, 3, 4, 3},
	} {
		begins, ends := silence(c.calls, time.Duration(c.from)*time.Second, time.Duration(c.within)*time.Second)
		if begins != time.Duration(c.begins)*time.Second || ends != time.Duration(c.ends)*time.Second {
			t.Errorf("%s: from %v to %v", c.name, begins, ends)
		}
		if kept := outside(c.calls, begins, ends); len(kept) != c.kept {
			t.Errorf("%s: outside are %v", c.name, kept)
		}
	}
}

// TestWhenTheSlowestWereDue tells a stall at one time from one that comes again and again.
func TestWhenTheSlowestWereDue(t *testing.T) {
	var calls []call
	for i := range 1000 {
		took := time.Millisecond
		if i >= 500 && i < 510 {
			took = time.Second
		}
		calls = append(calls, call{time.Duration(i) * time.Second, took, false})
	}
	if part := dueWithin(slowest(calls, 100), 450*time.Second, 508*time.Second); part != 0.8 {
		t.Errorf("%v of them", part)
	}
	if part := dueWithin(nil, 0, 1); part != 0 {
		t.Errorf("%v of none", part)
	}
	text := byTime(calls, 500*time.Second)
	if !strings.HasPrefix(text, "0s 1ms, 8m20s ") || strings.HasSuffix(text, " 1ms") {
		t.Error(text)
	}
}
