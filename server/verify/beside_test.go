package verify_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/server/verify"
)

func told(node string, since, at uint64, leases, users string) verify.Beside {
	return verify.Beside{Node: node, Epoch: 1, Since: since, At: at, LeaseSum: []byte(leases), UserSum: []byte(users)}
}

// What is beside the keys is compared only of positions that all have in common.
func TestCompareBeside(t *testing.T) {
	late := told("late", 1, 9, "old", "u")
	earlier := told("earlier", 10, 30, "x", "u")
	earlier.Epoch = 0
	for name, c := range map[string]struct {
		told    []verify.Beside
		differ  []string
		nodes   []string
		missing []string
	}{
		"equal": {told: []verify.Beside{told("a", 10, 20, "l", "u"), told("b", 15, 15, "l", "u")},
			nodes: []string{"a", "b"}},
		"different leases": {told: []verify.Beside{told("a", 10, 20, "l", "u"), told("b", 20, 25, "m", "u")},
			nodes: []string{"a", "b"}, differ: []string{verify.Leases}},
		"different users": {told: []verify.Beside{told("a", 10, 20, "l", "u"), told("b", 20, 25, "l", "v"),
			told("c", 12, 21, "l", "u")}, nodes: []string{"a", "b", "c"}, differ: []string{verify.Users}},
		"one is before the last change": {told: []verify.Beside{told("a", 10, 20, "l", "u"), late,
			told("c", 10, 10, "l", "u")}, nodes: []string{"a", "c"}, missing: []string{"late"}},
		"no position in common": {told: []verify.Beside{told("a", 10, 20, "l", "u"), late}, nodes: []string{"a"},
			missing: []string{"late"}},
		"of an epoch before": {told: []verify.Beside{told("a", 10, 20, "l", "u"), earlier, told("c", 9, 20, "l", "u")},
			nodes: []string{"a", "c"}, missing: []string{"earlier"}},
	} {
		r := verify.CompareBeside(c.told)
		var differ, missing []string
		for _, d := range r.Differ {
			differ = append(differ, d.What)
		}
		for _, m := range r.Missing {
			missing = append(missing, m.Node)
		}
		if !slices.Equal(differ, c.differ) || !slices.Equal(r.Nodes, c.nodes) || !slices.Equal(missing, c.missing) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Where what is held changes between two answers, nodes are asked again, as of a later position.
func TestWhatChangesIsAskedAgain(t *testing.T) {
	at := uint64(20)
	var asked []uint64
	nodes := []verify.Node{
		{Name: "a", Beside: func(_ context.Context, w *verify.Wait) (*verify.Beside, error) {
			b := told("a", 10, max(w.At, at), "l", "u")
			return &b, nil
		}},
		{Name: "b", Beside: func(_ context.Context, w *verify.Wait) (*verify.Beside, error) {
			asked = append(asked, w.At)
			b := told("b", 25, 25, "l", "u") // it has changed meanwhile
			return &b, nil
		}},
		{Name: "c", Beside: func(context.Context, *verify.Wait) (*verify.Beside, error) {
			return nil, errors.New("gone")
		}},
	}
	r := verify.AskBeside(t.Context(), nodes, at)
	if len(r.Nodes) != 2 || len(r.Missing) != 1 || r.Missing[0].Node != "c" || len(r.Differ) != 0 ||
		!slices.Equal(asked, []uint64{20, 25}) {
		t.Errorf("asked %v: %+v", asked, r)
	}
}

// Who is too late to be compared with the others can be compared with those who are as late.
func TestCohorts(t *testing.T) {
	standing := func(name string, revision, compact int64) verify.Standing {
		return verify.Standing{Name: name, Revision: revision, Compact: compact}
	}
	cohorts := verify.Cohorts([]verify.Standing{
		standing("a", 100, 50), standing("late-1", 30, 10), standing("b", 90, 50), standing("late-2", 32, 10),
		standing("later", 5, -1),
	})
	var names [][]string
	for _, c := range cohorts {
		var list []string
		for _, s := range c {
			list = append(list, s.Name)
		}
		names = append(names, list)
	}
	want := [][]string{{"a", "b"}, {"late-1", "late-2"}, {"later"}}
	if !slices.EqualFunc(names, want, slices.Equal[[]string]) {
		t.Errorf("%v", names)
	}
}

// A comparison that is bounded ends where it is, and what follows begins there.
func TestABoundedComparisonGoesOn(t *testing.T) {
	_, nodes := three(t, many(9_000)...)
	o, keys := verify.Options{Revision: 9_001, Most: 1000}, int64(0)
	for pieces := 1; ; pieces++ {
		r := compare(t, o, nodes...)
		keys += r.Keys
		if !r.More {
			if keys != 9_000 || pieces < 3 {
				t.Errorf("%d keys in %d pieces", keys, pieces)
			}
			return
		}
		o.From = r.Reached
	}
}
