package timeline

import "testing"

// TestGoingBackOverReigns: a region that has diverged may take what it had at the fork itself, and keeps the claim that
// it gave way to. Nothing else that has not that claim takes the place of what it has.
func TestGoingBackOverReigns(t *testing.T) {
	one := Reign{Epoch: 1, First: 1, Primary: "us"}
	two, three := Reign{Epoch: 2, First: 11, Primary: "eu"}, Reign{Epoch: 3, First: 21, Primary: "ap"}
	diverged := &Divergence{Fork: 10, At: 15, Claim: three}
	for name, c := range map[string]struct {
		diverged *Divergence
		back     bool
		at       Position
		reigns   []Reign
		want     Outcome
	}{
		"the state at the fork":                    {diverged, true, 10, []Reign{one, two}, Applied},
		"the reign that both have goes on":         {diverged, true, 10, []Reign{one}, Applied},
		"of elsewhere":                             {diverged, false, 10, []Reign{one, two}, Refused},
		"not at the fork":                          {diverged, true, 9, []Reign{one}, Refused},
		"it has not diverged":                      {nil, true, 20, []Reign{one, two}, Refused},
		"a reign that begins behind it is in that": {diverged, true, 10, []Reign{one, three}, Refused},
	} {
		s := &State{
			Region: "us", Cursor: Cursor{Epoch: 1, Position: 15}, Reigns: []Reign{one}, Diverged: c.diverged,
			Yielded: three,
		}
		m := NewMachine(s)
		origin := &Origin{Cursor: Cursor{Epoch: Latest(c.reigns).Epoch, Position: c.at}, Reigns: c.reigns}
		control := &Control{Op: OpInstall, Checkpoint: "own", Origin: origin, Back: c.back}
		outcome, why, err := m.Control(control)
		if outcome != c.want || err != nil {
			t.Errorf("%s: %v, %q, %v", name, outcome, why, err)
		}
		if outcome == Applied && (m.state.HighestClaim() != three || m.state.Role() != Secondary) {
			t.Errorf("%s: %s, yields to %+v", name, m.state.Role(), m.state.HighestClaim())
		}
		if p, err := EncodeControl(control); err != nil || c.back && p[0] != countVersion {
			t.Errorf("%s: of version %d, %v", name, p[0], err)
		}
	}
}
