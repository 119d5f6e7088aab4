package fleet

import (
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestAClaimIsNotTakenBackBySilence: who heard of a higher one stays deposed when nobody answers any more, or only a
// node that has not heard of it yet; the leader's word counts, whatever was said before.
func TestAClaimIsNotTakenBackBySilence(t *testing.T) {
	old, later := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}, timeline.Reign{Epoch: 2, First: 9, Primary: "eu"}
	said := func(id, term uint64, claim timeline.Reign) Heard { // a term in which it leads; zero: it does not
		h := Heard{Report: Report{Claim: claim, Leader: term > 0, Term: term}}
		h.ID = id
		return h
	}
	cutOff := said(3, 7, old)
	cutOff.Led = new(false)
	for name, test := range map[string]struct {
		then Region
		want timeline.Reign
	}{
		"nobody answers":             {Region{}, later},
		"a node that is behind does": {Region{Nodes: []Heard{said(2, 0, old)}}, later},
		"the leader does":            {Region{Nodes: []Heard{said(2, 0, old), said(3, 6, old)}}, old},
		"the leader of it does":      {Region{Nodes: []Heard{said(1, 5, later)}}, later},
		"one of before does":         {Region{Nodes: []Heard{said(3, 4, old)}}, later},
		"one that is cut off does":   {Region{Nodes: []Heard{cutOff}}, later},
	} {
		var heard Region
		heard.Nodes = []Heard{said(1, 5, later)}
		heard.remember(Region{})
		between := Region{} // a round in which nobody answered
		between.remember(heard)
		test.then.remember(between)
		for where, view := range map[string]View{
			"of the fleet": {Regions: map[string]Region{"eu": test.then}},
			"removed":      {Former: map[string]Region{"eu": test.then}},
		} {
			if got := view.Claim(old); got != test.want {
				t.Errorf("%s, %s: %+v", name, where, got)
			}
		}
	}
}
