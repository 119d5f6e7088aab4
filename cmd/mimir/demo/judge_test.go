package demo

import (
	"testing"
	"time"
)

// clock is so many milliseconds after some moment.
func clock(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

// The silence goes from the last write that was acknowledged before, and up to now; what failed is none.
func TestSilence(t *testing.T) {
	puts := []put{
		{"a", clock(0), clock(5), 2}, {"b", clock(90), clock(100), 3}, {"c", clock(110), clock(500), 0},
		{"d", clock(120), clock(900), 4}, {"e", clock(890), clock(910), 5}, {"f", clock(990), clock(1001), 6},
	}
	got := sumUp(puts, clock(200), clock(1000))
	want := stretch{acknowledged: 2, unknown: 1, median: 780 * time.Millisecond, p99: 20 * time.Millisecond,
		silence: 800 * time.Millisecond}
	if got != want {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	if got := sumUp(puts[:2], clock(200), clock(1000)); got.silence != 900*time.Millisecond || got.acknowledged != 0 {
		t.Errorf("nothing was acknowledged: %+v", got)
	}
	if got := sumUp(nil, clock(200), clock(1000)); got != (stretch{silence: 800 * time.Millisecond}) {
		t.Errorf("nothing was written: %+v", got)
	}
}

// What clients were told is held against what there is, write by write and event by event.
func TestVerdict(t *testing.T) {
	history := map[string]int64{"kept": 2, "unknown": 3, "late": 9}
	puts := []put{{key: "kept", revision: 2}, {key: "unknown"}, {key: "cut off", revision: 4}, {key: "gone"},
		{key: "late", revision: 9}}
	tail := map[string]bool{"cut off": true, "gone": true}
	seen := []event{{"kept", 2}, {"unknown", 3}, {"cut off", 4}, {"late", 9}}
	want := verdict{acknowledged: 3, unknown: 2, kept: 2, rescued: 1, tail: 2, events: 4, undone: 1}
	got := judge(puts, history, tail, seen)
	if got != want || got.err() != nil {
		t.Errorf("%+v, %v\nwant\n%+v", got, got.err(), want)
	}
	for name, wrong := range map[string]verdict{
		"not in the rescue file":    judge(puts, history, nil, seen),
		"at another revision":       judge([]put{{key: "kept", revision: 7}}, history, tail, seen),
		"an event that is missing":  judge(puts, history, tail, seen[1:]),
		"an event that comes twice": judge(puts, history, tail, append(seen, event{"late", 9})),
		"an event that comes late":  judge(puts, history, tail, []event{seen[1], seen[0], seen[2], seen[3]}),
	} {
		if wrong.err() == nil {
			t.Errorf("%s: %+v is well", name, wrong)
		}
	}
}
