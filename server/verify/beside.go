package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Beside is what a node holds beside its keys: leases, users and roles, alarms. It is the same at all positions from
// Since up to At, of the history's Epoch.
type Beside struct {
	Node     string `json:"node"`
	Epoch    uint64 `json:"epoch"`
	Since    uint64 `json:"since"`
	At       uint64 `json:"at"`
	Leases   int64  `json:"leases"`
	LeaseSum []byte `json:"leaseSum"`
	UserSum  []byte `json:"userSum"`
	AlarmSum []byte `json:"alarmSum"`
	// Revision and Compact are those of the node, at all positions from Settled up to At.
	Revision int64  `json:"revision"`
	Compact  int64  `json:"compact"`
	Settled  uint64 `json:"settled"`
}

// Wait is the question for what a node holds beside its keys, once it holds position At. Who does not get there soon
// tells what he holds then: he says himself of which positions that is.
type Wait struct {
	At uint64 `json:"at"`
}

// What is compared beside the keys.
const (
	Leases = "leases"
	Users  = "users and roles"
	Alarms = "alarms"
	// Revisions at one position: they differ where something was applied twice, or not at all. They are compared where
	// nobody wrote meanwhile.
	Revisions = "revisions"
)

// BesideResult is what a comparison of what is beside the keys found. It is of one position, at which all Nodes held
// what they told.
type BesideResult struct {
	Position uint64       `json:"position"`
	Nodes    []string     `json:"nodes"` // that were compared
	Leases   int64        `json:"leases"`
	Differ   []BesideDiff `json:"differ,omitempty"`
	Missing  []Missing    `json:"missing,omitempty"`
}

// BesideDiff says of one thing who holds the same as whom.
type BesideDiff struct {
	What   string  `json:"what"`
	Groups []Group `json:"groups"` // the largest first; Keys of leases is how many there are
}

// CompareBeside compares what nodes hold beside their keys, at one position at which all of them held what they told.
// Who has no such position in common with the others is missing: those who are behind the last change of another, and
// those of another epoch than the newest.
func CompareBeside(told []Beside) *BesideResult {
	r := &BesideResult{}
	var epoch uint64
	for _, b := range told {
		epoch = max(epoch, b.Epoch)
	}
	current := slices.DeleteFunc(slices.Clone(told), func(b Beside) bool {
		if b.Epoch < epoch {
			r.Missing = append(r.Missing, Missing{b.Node, fmt.Sprintf("it is in epoch %d, and others are in %d",
				b.Epoch, epoch)})
		}
		return b.Epoch < epoch
	})
	for _, b := range current {
		r.Position = max(r.Position, b.Since)
	}
	current = slices.DeleteFunc(current, func(b Beside) bool {
		if b.At < r.Position {
			r.Missing = append(r.Missing, Missing{b.Node, fmt.Sprintf("it is at position %d, and what another node "+
				"holds beside its keys is of position %d", b.At, r.Position)})
		}
		return b.At < r.Position
	})
	for _, b := range current {
		r.Nodes = append(r.Nodes, b.Node)
		r.Leases = b.Leases
	}
	slices.Sort(r.Nodes)
	if len(current) < 2 {
		return r
	}
	r.differ(Leases, current, func(b *Beside) []byte { return b.LeaseSum })
	r.differ(Users, current, func(b *Beside) []byte { return b.UserSum })
	r.differ(Alarms, current, func(b *Beside) []byte { return b.AlarmSum })
	r.differ(Revisions, settled(current), func(b *Beside) []byte { return fmt.Appendln(nil, b.Revision, b.Compact) })
	slices.SortFunc(r.Differ, func(a, b BesideDiff) int { return cmp.Compare(a.What, b.What) })
	return r
}

// differ notes who holds the same as whom, if not all do.
func (r *BesideResult) differ(what string, of []Beside, sum func(*Beside) []byte) {
	var d Difference
	for i := range of {
		d.add(of[i].Node, &Part{Sum: sum(&of[i])})
	}
	if len(d.Groups) > 1 {
		largestFirst(d.Groups)
		r.Differ = append(r.Differ, BesideDiff{what, d.Groups})
	}
}

// settled returns those whose revision is of one position that they have in common.
func settled(told []Beside) []Beside {
	var at uint64
	for _, b := range told {
		at = max(at, b.Settled)
	}
	return slices.DeleteFunc(slices.Clone(told), func(b Beside) bool { return b.At < at })
}

// besideTries is how often nodes are asked, as long as what they hold changes between their answers.
const besideTries = 5

// AskBeside asks nodes what they hold beside their keys, as of a position or later, and compares it: of the tries that
// it takes, the one in which most could be compared.
func AskBeside(ctx context.Context, nodes []Node, at uint64) *BesideResult {
	var best *BesideResult
	for range besideTries {
		told, missing := askBeside(ctx, nodes, at)
		r := CompareBeside(told)
		r.Missing = append(r.Missing, missing...)
		slices.SortFunc(r.Missing, func(a, b Missing) int { return cmp.Compare(a.Node, b.Node) })
		if best == nil || len(r.Nodes) > len(best.Nodes) {
			best = r
		}
		if len(r.Nodes) == len(told) || ctx.Err() != nil {
			break
		}
		at = max(at, r.Position)
	}
	return best
}

func askBeside(ctx context.Context, nodes []Node, at uint64) (told []Beside, missing []Missing) {
	answers, failures := make([]*Beside, len(nodes)), make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() {
			if n.Beside == nil {
				failures[i] = errors.New("it cannot be asked")
				return
			}
			answers[i], failures[i] = n.Beside(ctx, &Wait{At: at})
			if failures[i] == nil && answers[i].Node != n.Name {
				failures[i] = fmt.Errorf("%w: %q answers in its place", ErrQuestion, answers[i].Node)
			}
		})
	}
	all.Wait()
	for i, n := range nodes {
		if failures[i] != nil {
			missing = append(missing, Missing{n.Name, failures[i].Error()})
		} else {
			told = append(told, *answers[i])
		}
	}
	return told, missing
}
