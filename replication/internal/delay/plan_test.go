package delay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// stage is a region of which the storage has what is shown, and whose leader plans by a clock of its own.
type stage struct {
	t       *testing.T
	machine *timeline.Machine
	got     []region.Received
	bytes   uint64
	now     time.Time
	policy  policy
	told    strings.Builder
}

func newStage(t *testing.T, p policy) *stage {
	s := &stage{t: t, machine: timeline.NewMachine(&timeline.State{Region: "eu"}), policy: p}
	s.now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	us := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	if o, why, err := s.machine.Reign(us); o != timeline.Applied || err != nil {
		t.Fatal(why, err)
	}
	return s
}

func (s *stage) view() *region.View {
	v := &region.View{State: s.machine.State(), Receipts: s.got, Bytes: s.bytes}
	if v.Shown = v.State.Cursor; v.State.Delay != nil {
		v.Shown.Position = v.State.Delay.Shown
	}
	return v
}

func (s *stage) comes(n int) {
	c := s.machine.Cursor()
	f := timeline.Frame{Epoch: 1, First: c.Position + 1, Previous: c.Chain, Commands: make([]timeline.Command, n)}
	if o, why, err := s.machine.Frame(&f); o != timeline.Applied || err != nil {
		s.t.Fatal(why, err)
	}
	s.bytes += uint64(n)
}

// passes lets time pass, a second at a time, with a look at the end of each.
func (s *stage) passes(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(time.Second)
		s.looks()
	}
}

func (s *stage) looks() {
	c := plan(s.view(), s.policy, s.now)
	if c == nil {
		return
	}
	before := s.machine.State().Delay
	if o, why, err := s.machine.Control(c); o != timeline.Applied || err != nil {
		s.t.Fatal(why, err)
	}
	after := s.machine.State().Delay
	if c.Receipt != nil {
		s.got = append(s.got, region.Received{Receipt: *c.Receipt, Bytes: s.bytes})
	}
	at := s.now.Format("04:05")
	switch {
	case before == nil:
		fmt.Fprintf(&s.told, "%s late from %d; ", at, after.Shown)
	case after == nil:
		fmt.Fprintf(&s.told, "%s late no more; ", at)
	case after.Shown > before.Shown:
		fmt.Fprintf(&s.told, "%s shows %d of %s; ", at, after.Shown, after.Of.Format("04:05"))
	}
}

func TestWhatIsShownIsAsOldAsTheDelay(t *testing.T) {
	const plenty = 1 << 30
	for name, c := range map[string]struct {
		policy policy
		play   func(s *stage)
		want   string
	}{
		"written now and then": {policy{delay: 10 * time.Second, bytes: plenty}, func(s *stage) {
			s.passes(time.Second)
			s.comes(2)
			s.passes(3 * time.Second)
			s.comes(3)
			s.passes(20 * time.Second)
		}, "00:01 late from 0; 00:12 shows 2 of 00:02; 00:15 shows 5 of 00:05; "},
		"the clock is set back": {policy{delay: 10 * time.Second, bytes: plenty}, func(s *stage) {
			s.passes(time.Second)
			s.comes(1)
			s.passes(time.Second)
			s.now = s.now.Add(-5 * time.Minute)
			s.comes(1)
			s.passes(5*time.Minute + 20*time.Second)
		}, "00:01 late from 0; 00:12 shows 2 of 00:02; "},
		"more than may be held back": {policy{delay: 10 * time.Minute, bytes: 3}, func(s *stage) {
			s.passes(time.Second)
			for range 6 {
				s.comes(1)
				s.passes(time.Second)
			}
		}, "00:01 late from 0; 00:06 shows 1 of 00:02; 00:07 shows 2 of 00:03; "},
		"everything is wanted": {policy{delay: 10 * time.Minute, bytes: plenty}, func(s *stage) {
			s.passes(time.Second)
			s.comes(stride + 5)
			s.passes(time.Second)
			s.policy.released = true
			s.passes(2 * time.Second)
		}, "00:01 late from 0; 00:03 shows 20000 of 00:02; 00:04 shows 20005 of 00:02; "},
		"a backlog comes of age": {policy{delay: 10 * time.Second, bytes: plenty}, func(s *stage) {
			s.passes(time.Second)
			s.comes(stride + 5)
			s.passes(13 * time.Second)
		}, "00:01 late from 0; 00:12 shows 20000 of 00:02; 00:13 shows 20005 of 00:02; "},
		"a recovery goes on": {policy{delay: 5 * time.Second, bytes: plenty}, func(s *stage) {
			s.passes(time.Second)
			s.comes(1)
			s.passes(time.Second)
			state := s.machine.State()
			c := timeline.Charter{Epoch: 2, Number: 1, Voters: []timeline.Voter{{ID: "eu", Priority: 1}}}
			state.Ballot = &timeline.Ballot{Charter: c}
			s.machine = timeline.NewMachine(&state)
			s.passes(10 * time.Second)
			s.policy.released = true
			s.passes(time.Second)
		}, "00:01 late from 0; 00:13 shows 1 of 00:02; "},
		"a place is looked for while everything is wanted": {policy{bytes: plenty}, func(s *stage) {
			s.policy.delay = time.Minute
			s.passes(time.Second)
			s.policy.delay, s.policy.held = 0, true
			s.passes(2 * time.Second)
			s.comes(1)
			s.passes(10 * time.Second)
		}, "00:01 late from 0; "},
		"somebody looks for a place": {policy{delay: 5 * time.Second, bytes: plenty}, func(s *stage) {
			s.passes(time.Second)
			s.comes(1)
			s.policy.held = true
			s.passes(10 * time.Second)
			s.policy.held = false
			s.passes(time.Second)
		}, "00:01 late from 0; 00:12 shows 1 of 00:02; "},
		"the delay is ended": {policy{delay: 10 * time.Minute, bytes: plenty}, func(s *stage) {
			s.passes(time.Second)
			s.comes(1)
			s.passes(time.Second)
			s.policy.delay = 0
			s.passes(2 * time.Second)
		}, "00:01 late from 0; 00:03 shows 1 of 00:02; 00:04 late no more; "},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c.policy)
			c.play(s)
			if got := s.told.String(); got != c.want {
				t.Errorf("%s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAPointOfTimeIsFoundAmongReceipts(t *testing.T) {
	s := newStage(t, policy{delay: time.Hour, bytes: 1 << 30})
	s.passes(time.Second)
	for range 3 {
		s.comes(2)
		s.passes(10 * time.Second)
	}
	for moment, want := range map[string]string{
		"00:00": "none", "00:01": "0", "00:02": "2", "00:11": "2", "00:12": "4", "00:21": "4", "00:30": "6",
	} {
		clock, _ := time.Parse("04:05", moment)
		when := time.Date(2026, 11, 26, 12, 0, clock.Second(), 0, time.UTC)
		got := "none"
		if p, ok := at(s.view(), when); ok {
			got = fmt.Sprint(p)
		}
		if got != want {
			t.Errorf("at %s: position %s, want %s", moment, got, want)
		}
	}
}
