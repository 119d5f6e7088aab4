package etcdapi

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestPulse asks at seconds, every second, and looks at the silence at the end; what is older than ten is not known.
func TestPulse(t *testing.T) {
	silent := errors.New("no answer")
	for name, c := range map[string]struct {
		answers []error // of the question of each second
		at      int     // seconds
		want    time.Duration
	}{
		"nobody asked":            {nil, 30, 0},
		"answered":                {[]error{nil, nil}, 3, 0},
		"not answered":            {[]error{nil, silent}, 1, 0},
		"not answered for long":   {[]error{nil, silent, silent, silent}, 4, 3 * time.Second},
		"answered again":          {[]error{silent, silent, nil}, 4, 0},
		"silent again":            {[]error{silent, nil, silent}, 3, time.Second},
		"given up":                {[]error{nil, context.Canceled}, 3, 0},
		"given up in the silence": {[]error{silent, context.Canceled}, 3, 3 * time.Second},
		"long ago":                {[]error{silent, silent}, 30, 0},
	} {
		p, start := &pulse{}, time.Unix(1000, 0)
		for second, answer := range c.answers {
			if now := start.Add(time.Duration(second) * time.Second); !p.due(now, time.Second) {
				t.Errorf("%s: no question at %d", name, second)
			} else if p.due(now.Add(time.Hour), time.Second) {
				t.Errorf("%s: two questions at a time", name)
			}
			p.heard(answer)
		}
		if got := p.silence(start.Add(time.Duration(c.at)*time.Second), 10*time.Second); got != c.want {
			t.Errorf("%s: silent for %s, want %s", name, got, c.want)
		}
	}
}
