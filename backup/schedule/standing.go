package schedule

import (
	"slices"
	"time"
)

// Standing says what a backup is to a region that goes on with a history.
type Standing int

// Standings.
const (
	Elsewhere Standing = iota // another region took it
	Foreign                   // it is of a history with another beginning
	// Astray is not of the history: of what was given up, of another life, or further than the history is. Neither it
	// counts nor goes.
	Astray
	// Unplaced does not say where it is, or it is not known where the region is. It counts as being there, and goes by
	// the number of the others, but pushes out none.
	Unplaced
	// Alone is of the history, as far as no more than half of all regions are known to have that. It pushes out others
	// that are alone.
	Alone
	Own // of the history, as others have it
)

// Ranked is a backup with what it is.
type Ranked struct {
	Backup
	Standing
}

// Stand ranks all backups that there are, the oldest first, for a region which is here now; "": for any. returns are
// those that the next one is to have. It is pure. Of what is written further on in a reign only positions tell: what
// was taken before the history was known to lie before it is Astray for ever.
func Stand(region string, here Place, all []Backup, now time.Time) (ranked []Ranked, returns []Return) {
	ahead := make([]bool, len(all))
	for i, b := range all {
		r := Ranked{Backup: b}
		r.Standing, ahead[i] = here.stand(region, &b)
		ranked = append(ranked, r)
		if r.Standing == Own && !b.At.After(now.Add(skew)) {
			returns = joined(returns, b.Place.Returns)
		}
	}
	back, shared := false, here.Shared
	for i := range ranked {
		r := &ranked[i]
		if r.Standing != Own && !ahead[i] {
			continue
		}
		switch before := slices.ContainsFunc(returns, func(o Return) bool { return o.before(&r.Backup) }); {
		case before:
			r.Standing = Astray
		case ahead[i]:
			back = back || r.At.Add(skew).Before(now)
		default:
			shared = max(shared, r.Place.Shared)
		}
	}
	for i := range ranked {
		if r := &ranked[i]; r.Standing == Own && r.Place.Position > shared {
			r.Standing = Alone
		}
	}
	if back {
		returns = append(returns, Return{At: now.UTC(), Position: here.Position})
	}
	return ranked, returns
}

// joined returns those of both, each once.
func joined(some, more []Return) []Return {
	for _, o := range more {
		same := func(x Return) bool { return x.At.Equal(o.At) && x.Position == o.Position }
		if !slices.ContainsFunc(some, same) {
			some = append(some, o)
		}
	}
	return some
}

// before reports whether the history had gone back to before a backup that was there.
func (o Return) before(b *Backup) bool {
	return b.Place.Position > o.Position && b.At.Add(skew).Before(o.At)
}

// stand is what a backup is to who is here, as reigns and positions tell it. ahead says that it is further in the last
// reign.
func (here *Place) stand(region string, b *Backup) (s Standing, ahead bool) {
	switch {
	case region != "" && b.Region != region:
		return Elsewhere, false
	case b.History != "" && b.History != here.History:
		return Foreign, false
	case b.Place == nil || len(b.Place.Reigns) == 0 || len(here.Reigns) == 0:
		return Unplaced, false
	}
	at, last := b.Place, b.Place.Reigns[len(b.Place.Reigns)-1]
	i := slices.IndexFunc(here.Reigns, func(r Reign) bool { return r.Epoch == last.Epoch && r.Chain == last.Chain })
	switch {
	case i < 0 && last.Epoch < here.Reigns[0].Epoch: // of before those that are known here
		return Unplaced, false
	case i < 0 || at.Position+1 < last.First:
		return Astray, false
	case i+1 < len(here.Reigns) && at.Position+1 > here.Reigns[i+1].First:
		return Astray, false
	case i+1 == len(here.Reigns) && at.Position > here.Position:
		return Astray, true
	case i+1 == len(here.Reigns) && at.Position == here.Position && at.Chain != here.Chain:
		return Astray, false
	}
	return Own, false
}

// GivenUp returns which of the backups, the oldest first, are not of the history of which the furthest ones are: the
// last one of the latest epoch tells the reign, and that of it with the most positions how far it came. Histories with
// another beginning are judged for themselves.
func GivenUp(all []Backup, now time.Time) (names []string) {
	furthest := map[string]*Place{}
	for _, b := range all {
		if b.Place == nil || len(b.Place.Reigns) == 0 {
			continue
		}
		if f := furthest[b.History]; f == nil || !f.furtherThan(b.Place) {
			furthest[b.History] = b.Place
		}
	}
	astray := map[string]bool{}
	for history, f := range furthest {
		here := *f
		here.History = history
		ranked, _ := Stand("", here, all, now)
		for _, r := range ranked {
			astray[r.Name] = astray[r.Name] || r.Standing == Astray && r.History == history
		}
	}
	for _, b := range all {
		if astray[b.Name] {
			names = append(names, b.Name)
		}
	}
	return names
}

// furtherThan reports whether a place stays the furthest beside one of a backup that was taken later.
func (here *Place) furtherThan(o *Place) bool {
	x, y := here.Reigns[len(here.Reigns)-1], o.Reigns[len(o.Reigns)-1]
	if x != y {
		return x.Epoch > y.Epoch
	}
	return here.Position > o.Position
}
