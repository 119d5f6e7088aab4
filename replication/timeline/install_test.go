package timeline

import "testing"

// A region that gave way to a claim takes no state of an older one, however far that one came.
func TestAStateOfAnOlderClaimIsNotInstalled(t *testing.T) {
	older := Reign{Epoch: 2, First: 1, Primary: "eu", Nonce: Nonce{2}}
	newer := Reign{Epoch: 3, First: 5, Primary: "ap", Nonce: Nonce{3}}
	for claim, want := range map[Reign]Outcome{older: Applied, newer: Refused} {
		m := NewMachine(&State{Region: "us", Yielded: claim})
		outcome, why, err := m.Control(&Control{Op: OpInstall, Checkpoint: "c", Origin: &Origin{
			Cursor: Cursor{Epoch: 2, Position: 9}, Reigns: []Reign{older},
		}})
		if outcome != want || err != nil {
			t.Errorf("gave way to epoch %d: %v, %s, %v; want %v", claim.Epoch, outcome, why, err, want)
		}
	}
}

// A region that has diverged can go on with its own history, if that leaves it a secondary until it begins an epoch.
func TestADivergenceIsTakenBack(t *testing.T) {
	own := Reign{Epoch: 3, First: 1, Primary: "us", Nonce: Nonce{1}}
	higher := Reign{Epoch: 4, First: 5, Primary: "eu", Nonce: Nonce{2}}
	former := Reign{Epoch: 3, First: 2, Primary: "us", Nonce: Nonce{3}}
	keep := &Control{Op: OpKeep, At: 9, Epoch: 3}
	for name, c := range map[string]struct {
		claim Reign
		keep  *Control
		want  Outcome
	}{
		"a higher claim":                    {higher, keep, Applied},
		"a former life of the region":       {former, keep, Refused},
		"proposed at another place":         {higher, &Control{Op: OpKeep, At: 8, Epoch: 3}, Refused},
		"no divergence":                     {Reign{}, keep, Refused},
		"proposed in another epoch than is": {higher, &Control{Op: OpKeep, At: 9, Epoch: 2}, Refused},
	} {
		m := NewMachine(&State{Region: "us", Cursor: Cursor{Epoch: 3, Position: 9}, Reigns: []Reign{own}})
		if c.claim.Epoch != 0 {
			diverge := &Control{Op: OpDiverge, Fork: 4, At: 9, Epoch: 3, Claim: &c.claim}
			if outcome, why, err := m.Control(diverge); outcome != Applied || err != nil {
				t.Fatal(name, why, err)
			}
		}
		outcome, why, err := m.Control(c.keep)
		if outcome != c.want || err != nil {
			t.Errorf("%s: %v, %s, %v; want %v", name, outcome, why, err, c.want)
		}
		s := m.State()
		if outcome == Applied && (s.Role() != Secondary || s.Writable() || s.HighestClaim() != c.claim) {
			t.Errorf("%s: the region is %v, %+v", name, s.Role(), s)
		}
	}
}
