package timeline

import "testing"

// TestAMajorityOfOthersCountsAnew: what is in two of the regions a, b and c, or in a alone.
func TestAMajorityOfOthersCountsAnew(t *testing.T) {
	charter := func(maxLoss uint64, ids ...string) *Charter {
		c := &Charter{Epoch: 1, Number: 1, MaxLoss: maxLoss}
		for _, id := range ids {
			c.Voters = append(c.Voters, Voter{ID: id})
		}
		return c
	}
	const w, v, u = "witness/w", "witness/v", "witness/u"
	for name, test := range map[string]struct {
		before, after *Charter
		want          bool
	}{
		"nothing of that changes":       {charter(0, "a", "b", w), charter(0, "a", "b", w), false},
		"one of those who have it":      {charter(0, "a", "b", "c", w), charter(0, "a", "c", w), true},
		"one of three who have it":      {charter(0, "a", "b", "c", v, w), charter(0, "a", "b", v, w), false},
		"of so many no two are without": {charter(0, "a", "b", w), charter(0, "a", w), false},
		"a witness has nothing":         {charter(0, "a", "b", "c", w), charter(0, "a", "b", "c"), false},
		"others come behind a recovery": {charter(0, "a"), charter(0, "a", "b", w), true},
		"one more":                      {charter(0, "a", "b", w), charter(0, "a", "b", "c", w), false},
		"behind one, with a loss":       {charter(9, "a"), charter(9, "a", "b", w), true},
		"with any":                      {charter(9, "a"), charter(NoBound, "a", "b", w), false},
		"a loss is allowed":             {charter(0, "a", "b", w), charter(9, "a", "b", w), true},
		"one is allowed already":        {charter(9, "a", "b", "c", w), charter(9, "a", "c", w), false},
		"none is allowed from now on":   {charter(9, "a", "b", w), charter(0, "a", "b", w), false},
		"so many more have nothing":     {charter(0, "a", "b", v, w), charter(0, "a", "b", u, v, w), true},
		"four of five":                  {charter(0, "a", "b", "c", "d", w), charter(0, "a", "c", "d", w), false},
	} {
		if got := test.before.Uncounts(test.after); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestACandidateLacksWhatWasAcknowledged(t *testing.T) {
	reigns := []Reign{{Epoch: 1, First: 1, Primary: "a"}, {Epoch: 3, First: 20, Primary: "b"}}
	for name, test := range map[string]struct {
		under Under
		who   string
		at    Position
		want  uint64
	}{
		"nothing was said":          {Under{}, "c", 33, 0},
		"it has all":                {Under{3, 40}, "c", 40, 0},
		"it has less":               {Under{3, 40}, "c", 33, 7},
		"of a reign before":         {Under{1, 40}, "c", 33, 0},
		"of a reign it never saw":   {Under{4, 40}, "c", 33, 7},
		"and it is further by then": {Under{4, 40}, "c", 60, 1},
		"it acknowledged them":      {Under{3, 40}, "b", 33, 0},
	} {
		c := &Candidacy{
			For: test.who, Reigns: reigns, Cursor: Cursor{Epoch: 3, Position: test.at},
			Charter: Charter{Under: test.under},
		}
		if got := c.Under(); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
