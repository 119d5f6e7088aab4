package timeline

import "testing"

func TestCompare(t *testing.T) {
	one := Reign{Epoch: 1, First: 1, Primary: "us"}
	two := Reign{Epoch: 2, First: 6, Primary: "eu"}
	other := Reign{Epoch: 2, First: 4, Primary: "ap"}
	for _, c := range []struct {
		name         string
		a, b         []Reign
		aLast, bLast Position
		want         Relation
		fork         Position
	}{
		{name: "both empty", want: Prefix},
		{name: "empty to full", b: []Reign{one}, bLast: 5, want: Prefix},
		{name: "full to empty", a: []Reign{one}, aLast: 5, want: Extends},
		{name: "behind", a: []Reign{one}, aLast: 3, b: []Reign{one}, bLast: 5, want: Prefix, fork: 3},
		{name: "equal", a: []Reign{one}, aLast: 5, b: []Reign{one}, bLast: 5, want: Prefix, fork: 5},
		{name: "ahead", a: []Reign{one}, aLast: 7, b: []Reign{one}, bLast: 5, want: Extends, fork: 5},
		{name: "behind by a reign", a: []Reign{one}, aLast: 5, b: []Reign{one, two}, bLast: 5, want: Prefix, fork: 5},
		{name: "deposed with a tail", a: []Reign{one}, aLast: 6, b: []Reign{one, two}, bLast: 9, want: Forked, fork: 5},
		{
			name: "source has not heard of the reign", a: []Reign{one, two}, aLast: 5, b: []Reign{one}, bLast: 5,
			want: Extends, fork: 5,
		},
		{
			name: "two successors", a: []Reign{one, two}, aLast: 8, b: []Reign{one, other}, bLast: 9, want: Forked,
			fork: 3,
		},
		{
			name: "successor without commands", a: []Reign{one, two}, aLast: 5, b: []Reign{one, other}, bLast: 9,
			want: Forked, fork: 3,
		},
		{
			name: "nothing in common", a: []Reign{one}, aLast: 3,
			b: []Reign{{Epoch: 1, First: 1, Primary: "us", Nonce: Nonce{1}}}, bLast: 5, want: Forked,
		},
	} {
		got, fork := Compare(c.a, c.b, c.aLast, c.bLast)
		if got != c.want || fork != c.fork {
			t.Errorf("%s: %v at %d, want %v at %d", c.name, got, fork, c.want, c.fork)
		}
	}
}

// TestSupersedesOrdersAllClaims: also claims of one epoch and one region, which a region that began again makes.
func TestSupersedesOrdersAllClaims(t *testing.T) {
	claims := []Reign{
		{}, {Epoch: 1, Primary: "us", Lossy: true, First: 9}, {Epoch: 1, Primary: "us", First: 1},
		{Epoch: 1, Primary: "us", First: 1, Previous: Chain{1}}, {Epoch: 1, Primary: "us", First: 1, Nonce: Nonce{1}},
		{Epoch: 1, Primary: "us", First: 1, Nonce: Nonce{2}}, {Epoch: 1, Primary: "us", First: 1, Handoff: 1},
		{Epoch: 1, Primary: "us", First: 2}, {Epoch: 1, Primary: "eu"}, {Epoch: 2, Primary: "us", Lossy: true},
	}
	for i, a := range claims {
		for j, b := range claims {
			if got := Supersedes(a, b); got != (i > j) {
				t.Errorf("claim %d over claim %d: %t", i, j, got)
			}
		}
	}
}

// TestEntriesAreJudgedAsEver: the order of claims that the log's entries are judged by never changes, or nodes of two
// versions make different things of one entry.
func TestEntriesAreJudgedAsEver(t *testing.T) {
	old, again := Reign{Epoch: 1, First: 1, Primary: "us"}, Reign{Epoch: 1, First: 1, Primary: "us", Nonce: Nonce{1}}
	for _, region := range []string{"us", "eu"} {
		s := &State{Region: region, Reigns: []Reign{old}, Cursor: Cursor{Epoch: 1}}
		if o, why := Would(s, &Control{Op: OpYield, Claim: &again}); o == Applied {
			t.Errorf("%s yields to another claim of the same epoch and region: %v %s", region, o, why)
		}
		m := NewMachine(s)
		if o, why, err := m.Control(&Control{Op: OpDiverge, Epoch: 1, Claim: &again}); o != Applied || err != nil {
			t.Errorf("%s does not diverge from it: %v %s %v", region, o, why, err)
		}
		if after := m.State(); after.HighestClaim() != old {
			t.Errorf("%s claims %+v", region, after.HighestClaim())
		}
	}
}
