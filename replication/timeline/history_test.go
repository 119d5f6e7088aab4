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

func TestSupersedesOrdersAllClaims(t *testing.T) {
	claims := []Reign{{}, {Epoch: 1, Primary: "us"}, {Epoch: 1, Primary: "eu"}, {Epoch: 2, Primary: "us"}}
	for i, a := range claims {
		for j, b := range claims {
			if got := Supersedes(a, b); got != (i > j) {
				t.Errorf("claim %d over claim %d: %t", i, j, got)
			}
		}
	}
}
