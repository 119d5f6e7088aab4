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
