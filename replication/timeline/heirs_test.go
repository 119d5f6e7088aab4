package timeline

import (
	"slices"
	"testing"
)

// TestWhoReignsLaterHasWhatWasWritten before: as far as the history proves it, or a claim that goes on from its end.
func TestWhoReignsLaterHasWhatWasWritten(t *testing.T) {
	one := Reign{Epoch: 1, First: 1, Primary: "us"}
	two := Reign{Epoch: 2, First: 6, Primary: "eu", Lossy: true}
	again := Reign{Epoch: 3, First: 8, Primary: "us"}
	goesOn := Reign{Epoch: 4, First: 10, Primary: "ap", Previous: Chain{7}}
	elsewhere, earlier, own, ended := goesOn, goesOn, goesOn, goesOn
	elsewhere.Previous, earlier.First, own.Primary, ended.Epoch = Chain{8}, 9, "us", 2
	for name, c := range map[string]struct {
		reigns  []Reign
		yielded Reign
		fork    Position // zero: it has not diverged
		epoch   Epoch
		at      Position
		want    []string
	}{
		"nobody else reigned":           {[]Reign{one}, Reign{}, 0, 1, 5, nil},
		"one did":                       {[]Reign{one, two}, Reign{}, 0, 1, 5, []string{"eu"}},
		"what it began without":         {[]Reign{one, two}, Reign{}, 0, 1, 6, nil},
		"what it wrote itself":          {[]Reign{one, two, again}, Reign{}, 0, 3, 8, nil},
		"of an epoch that is not there": {[]Reign{one, again}, Reign{}, 0, 2, 5, nil},
		"one goes on from here":         {[]Reign{one}, goesOn, 0, 1, 9, []string{"ap"}},
		"beside one before":             {[]Reign{one, two}, goesOn, 0, 1, 5, []string{"eu", "ap"}},
		"it has come here":              {[]Reign{one, goesOn}, goesOn, 0, 1, 9, []string{"ap"}},
		"from another history":          {[]Reign{one}, elsewhere, 0, 1, 9, nil},
		"from before the end":           {[]Reign{one}, earlier, 0, 1, 5, nil},
		"the own region":                {[]Reign{one}, own, 0, 1, 9, nil},
		"of an earlier epoch":           {[]Reign{one, two}, ended, 0, 2, 9, nil},
		"what is about to be given up":  {[]Reign{one, two}, Reign{}, 4, 1, 5, nil},
		"and what is not":               {[]Reign{one, two}, Reign{}, 4, 1, 4, []string{"eu"}},
	} {
		s := &State{Region: "us", Reigns: c.reigns, Yielded: c.yielded,
			Cursor: Cursor{Epoch: Latest(c.reigns).Epoch, Position: 9, Chain: Chain{7}}}
		if c.fork > 0 {
			s.Diverged = &Divergence{Fork: c.fork, At: 9}
		}
		if got := s.Heirs(c.epoch, c.at); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestAWriteIsInAHistoryOrNot, whatever the position by itself says.
func TestAWriteIsInAHistoryOrNot(t *testing.T) {
	one := Reign{Epoch: 1, First: 1, Primary: "us"}
	two := Reign{Epoch: 2, First: 6, Primary: "eu", Lossy: true}
	four := Reign{Epoch: 4, First: 8, Primary: "us"}
	yields := Reign{Epoch: 5, First: 4, Primary: "ap"}
	for name, c := range map[string]struct {
		reigns    []Reign // up to position 9
		yielded   Reign
		fork      Position // zero: it has not diverged
		epoch     Epoch
		at        Position
		has, gone bool
	}{
		"it is applied":               {[]Reign{one}, Reign{}, 0, 1, 9, true, false},
		"it is not, yet":              {[]Reign{one}, Reign{}, 0, 1, 10, false, false},
		"of a reign that is over":     {[]Reign{one, two}, Reign{}, 0, 1, 5, true, false},
		"cut off from it":             {[]Reign{one, two}, Reign{}, 0, 1, 6, false, true},
		"of a reign that was not":     {[]Reign{one, four}, Reign{}, 0, 2, 7, false, true},
		"of a reign to come":          {[]Reign{one, two}, Reign{}, 0, 3, 7, false, false},
		"of another reign so called":  {[]Reign{one, two}, Reign{}, 0, 2, 5, false, true},
		"it gives way":                {[]Reign{one}, yields, 0, 1, 9, true, false},
		"that may bring it":           {[]Reign{one, two}, yields, 0, 1, 7, false, false},
		"given up":                    {[]Reign{one, two}, yields, 7, 2, 8, false, true},
		"before the fork":             {[]Reign{one, two}, yields, 7, 2, 7, true, false},
		"of the history that is kept": {[]Reign{one, two}, yields, 7, 5, 8, false, false},
		"of a reign that went on":     {[]Reign{one, two}, yields, 5, 1, 7, false, false},
		"of the reign before a fork":  {[]Reign{one, two}, yields, 4, 1, 5, false, true},
	} {
		s := &State{Region: "us", Reigns: c.reigns, Yielded: c.yielded,
			Cursor: Cursor{Epoch: Latest(c.reigns).Epoch, Position: 9}}
		if c.fork > 0 {
			s.Diverged = &Divergence{Fork: c.fork, At: 9}
		}
		if has, gone := s.Has(c.epoch, c.at); has != c.has || gone != c.gone {
			t.Errorf("%s: it is there: %t, gone: %t", name, has, gone)
		}
	}
}
