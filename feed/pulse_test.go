package feed

import (
	"errors"
	"testing"
	"time"
)

// An endpoint is given up when it has said nothing for longer than there is patience, but for the time that the
// consumer took.
func TestSilence(t *testing.T) {
	const patience = 15 * time.Second
	start := time.Unix(1000, 0)
	p := pulse{every: time.Second, silent: start}
	for _, step := range []struct {
		at     time.Duration
		heard  int64
		busy   bool // the consumer was, up to now
		silent bool
	}{
		{5 * time.Second, 0, false, false}, {15 * time.Second, 0, false, false}, {16 * time.Second, 0, false, true},
		{17 * time.Second, 1, false, false}, {32 * time.Second, 1, false, false}, {33 * time.Second, 1, false, true},
		{time.Hour, 1, true, false}, {time.Hour + 15*time.Second, 1, false, false},
		{time.Hour + 16*time.Second, 1, false, true}, {time.Hour + 17*time.Second, 2, false, false},
	} {
		now := start.Add(step.at)
		if step.busy {
			p.lately(now)
		}
		if err := p.hear(step.heard, now, patience); errors.Is(err, errSilent) != step.silent {
			t.Errorf("at %v: %v", step.at, err)
		}
	}
}

// How far it is is passed on as often as was asked for, whatever comes of it from the endpoint, and at once at first.
func TestHeartbeats(t *testing.T) {
	start := time.Unix(1000, 0)
	p, said := pulse{every: 5 * time.Second}, 0
	for i := range 600 {
		if p.due(start.Add(time.Duration(i) * 100 * time.Millisecond)) {
			said++
		}
		if i == 0 && said != 1 {
			t.Error("it is not said at once")
		}
	}
	if said < 12 || said > 16 {
		t.Errorf("said %d times in a minute", said)
	}
}
