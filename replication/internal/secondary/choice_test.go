package secondary

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// look makes an outlook of words, from ap's side: "direct", "served", "handed", "wants eu", and of regions "eu 0.2" (is
// well, and late by so much), "eu 0.2 by sa", "eu old", "eu cut", "eu forked", "eu mute"; "late 1" is ap itself.
func look(words string) *outlook {
	o := &outlook{late: -1, regions: map[string]sight{}}
	for _, w := range strings.Split(words, ", ") {
		switch f := strings.Fields(w); {
		case w == "":
		case w == "direct":
			o.direct = true
		case w == "served":
			o.direct, o.served = true, true
		case w == "handed":
			o.handed = true
		case f[0] == "wants":
			o.wanted = f[1]
		case f[0] == "late":
			fmt.Sscan(f[1], &o.late)
		default:
			s := sight{answers: f[1] != "mute", alike: f[1] != "forked", current: f[1] != "old" && f[1] != "cut"}
			if f[1] == "old" {
				s.lag = -1
			} else if f[1] != "mute" && f[1] != "forked" && f[1] != "cut" {
				fmt.Sscan(f[1], &s.lag)
			}
			if len(f) == 4 {
				s.by = f[3]
			}
			o.regions[f[0]] = s
		}
	}
	return o
}

func TestByWhomARegionFollows(t *testing.T) {
	type moment struct {
		second float64
		sees   string
		by     string
	}
	const primary = ""
	for name, story := range map[string][]moment{
		"the primary, where nothing is said": {
			{0, "served, eu 0.1, sa 0.1", primary}, {60, "served, eu 0.1, sa 0.1", primary}},
		"the one that is wanted, at once": {
			{0, "served, eu 0.1", primary}, {1, "served, wants eu, eu 0.1", "eu"},
			{60, "direct, wants eu, eu 0.1", "eu"},
			{61, "direct, eu 0.1", primary}},
		"the primary while the wanted one is not well": {
			{0, "served, wants eu, eu mute", primary}, {1, "served, wants eu, eu forked", primary},
			{2, "served, wants eu, eu old", primary}, {3, "served, wants eu, eu 11", primary},
			{4, "served, wants eu, eu 9", "eu"}},
		"one that lags much is left, a little later than it would not have been gone to": {
			{0, "direct, wants eu, eu 1", "eu"}, {1, "direct, wants eu, eu 19", "eu"},
			{60, "direct, wants eu, eu 19", "eu"},
			{61, "direct, wants eu, eu 21", "eu"}, {62, "direct, wants eu, eu 21", "eu"},
			{63, "direct, wants eu, eu 21", primary}},
		"none that is later by more than is waited for": {
			{0, "served, late 0.5, wants eu, eu 5", primary}, {60, "served, late 0.5, wants eu, eu 2.6", primary},
			{61, "served, late 0.5, wants eu, eu 2.5", "eu"}, {62, "direct, late 5, wants eu, eu 5", "eu"}},
		"nor where the primary is silent, unless nothing is known any more": {
			{0, "served, late 0.5, eu 5", primary}, {1, "late 1, eu 5", primary}, {3, "late 2.9, eu 5", primary},
			{6, "eu 5", "eu"}},
		"and not from another to the one that is wanted": {
			{0, "wants eu, eu mute, sa 1", primary}, {2, "wants eu, eu mute, sa 1", "sa"},
			{3, "late 1, wants eu, eu 5, sa 1", "sa"}, {4, "late 1, wants eu, eu 2, sa 1", "eu"}},
		"one that dies is left in seconds, and gone back to when it has been well for long enough": {
			{0, "direct, wants eu, eu 1", "eu"}, {1, "direct, wants eu, eu mute", "eu"},
			{2, "direct, wants eu, eu 1", "eu"},
			{10, "direct, wants eu, eu mute", "eu"}, {12, "direct, wants eu, eu mute", primary},
			{20, "served, wants eu, eu 1", primary}, {29, "served, wants eu, eu 1", primary},
			{30, "served, wants eu, eu 1", "eu"}},
		"one that comes and goes is not gone back to": {
			{0, "direct, wants eu, eu 1", "eu"}, {1, "direct, wants eu, eu mute", "eu"},
			{3, "direct, wants eu, eu mute", primary},
			{8, "served, wants eu, eu 1", primary}, {17, "served, wants eu, eu mute", primary},
			{18, "served, wants eu, eu 1", primary}, {27, "served, wants eu, eu 1", primary},
			{28, "served, wants eu, eu 1", "eu"}},
		"one that is cut off from the primary": {
			{0, "direct, wants eu, eu 1", "eu"}, {1, "direct, wants eu, eu cut", "eu"},
			{3, "direct, wants eu, eu cut", primary}},
		"one that was removed, at once": {
			{0, "direct, wants eu, eu 1", "eu"}, {1, "direct, sa 1", primary}},
		"one that follows this one, at once": {
			{0, "direct, wants eu, eu 1", "eu"}, {0.5, "direct, wants eu, eu 1 by ap, sa old", primary},
			{1, "direct, wants eu, eu 1 by ap, sa old", primary}},
		"one that follows this one by a third": {
			{0, "direct, wants eu, eu 1 by sa, sa 1 by ap", primary}, {1, "direct, wants eu, eu 1 by sa, sa 1", "eu"},
			{2, "direct, wants eu, eu 1 by sa, sa 1 by ap", primary}},
		"others that follow each other": {
			{0, "direct, wants eu, eu 1 by sa, sa 1 by eu", primary}},
		"one behind a region that nobody knows": {
			{0, "direct, wants eu, eu 1 by nz, sa old", primary}},
		"any other while the primary is silent, the least late": {
			{0, "served, eu 2, sa 1", primary}, {1, "eu 2, sa 1", primary}, {2, "eu 2, sa 1", primary},
			{3, "eu 2, sa 1", "sa"},
			{4, "direct, eu 1, sa 2", "sa"}, {13, "direct, eu 1, sa 2", "sa"}, {14, "direct, eu 1, sa 2", primary}},
		"not while its stream brings what is new": {
			{0, "served, eu 2", primary}, {1, "eu 2", primary}, {2, "served, eu 2", primary},
			{60, "served, eu 2", primary}},
		"nobody else who does not hear it either": {
			{0, "served, eu 2", primary}, {1, "eu cut", primary}, {60, "eu cut", primary}},
		"another where the wanted one dies, and the primary is silent": {
			{0, "wants eu, eu 1, sa 1", "eu"}, {1, "wants eu, eu mute, sa 1", "eu"},
			{3, "wants eu, eu mute, sa 1", "sa"},
			{4, "wants eu, eu 1, sa 1", "sa"}, {14, "wants eu, eu 1, sa 1", "eu"}},
		"the wanted one before the primary, where another is followed": {
			{0, "sa 1, wants eu, eu mute", primary}, {2, "sa 1, wants eu, eu mute", "sa"},
			{3, "direct, sa 1, wants eu, eu 1", "eu"}},
		"the primary itself while it is moved here": {
			{0, "direct, wants eu, eu 1", "eu"}, {1, "direct, handed, wants eu, eu 1", primary},
			{2, "direct, wants eu, eu 1", "eu"}, {3, "direct, eu 1", primary}},
	} {
		t.Run(name, func(t *testing.T) {
			c, began := newChoice(), time.Now()
			for _, m := range story {
				at := began.Add(time.Duration(m.second * float64(time.Second)))
				before := c.now
				to, why := c.next(at, look(m.sees))
				if to != m.by || (why != "") != (to != before) {
					t.Errorf("after %v s, which shows %q: by %q (%s), want %q", m.second, m.sees, to, why, m.by)
				}
			}
		})
	}
}

// A region by which nobody serves is left, and gone back to after a while.
func TestAWayThatIsMissed(t *testing.T) {
	c, began := newChoice(), time.Now()
	sees := look("direct, wants eu, eu 1")
	c.next(began, sees)
	c.missed(began, "eu")
	for _, m := range []struct {
		second time.Duration
		by     string
	}{{1, ""}, {9, ""}, {10, "eu"}} {
		if to, _ := c.next(began.Add(m.second*time.Second), sees); to != m.by {
			t.Errorf("after %d s: by %q, want %q", m.second, to, m.by)
		}
	}
}
