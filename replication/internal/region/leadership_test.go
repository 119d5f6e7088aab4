package region

import "testing"

// leadsIn is a group whose member leads in one term, zero: in none.
type leadsIn uint64

func (l *leadsIn) LeadsIn(term uint64) bool { return *l != 0 && uint64(*l) == term }

// TestLeadershipEndsAsSoonAsRaftKnows: it begins when it is told, once all before is applied, and not with raft's word
// alone, and ends with whichever comes first.
func TestLeadershipEndsAsSoonAsRaftKnows(t *testing.T) {
	raft := leadsIn(0)
	l := NewLeadership(&raft)
	for _, c := range []struct {
		why        string
		raft, told uint64
		want       uint64
	}{
		{"nobody says so", 0, 0, 0},
		{"raft alone does", 5, 0, 0},
		{"both do", 5, 5, 5},
		{"raft leads no more", 0, 5, 0},
		{"raft leads a later term", 7, 5, 0},
		{"it is told of that", 7, 7, 7},
		{"it is told of the end", 7, 0, 0},
	} {
		raft = leadsIn(c.raft)
		l.Set(c.told)
		if term, leads := l.Term(); term != c.want || leads != (c.want != 0) || l.Leads() != leads {
			t.Errorf("%s: leads %t, term %d, want %d", c.why, leads, term, c.want)
		}
	}
	var alone Leadership
	alone.Set(3)
	if term, leads := alone.Term(); term != 3 || !leads || alone.Set(0) != 3 || alone.Leads() {
		t.Errorf("without a group: leads %t, term %d", leads, term)
	}
}
