package e2e

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// lived is a history of registers under failovers, with what became of the writes. Every value is written once.
type lived struct {
	history []operation
	kept    []change        // all that the fleet has of it, in order
	lost    map[string]bool // the values in the rescue files of this time
}

// change is a write as a watcher was told of it.
type change struct {
	revision   int64
	key, value string
}

// blockShift makes of a revision the block that it is in: that of the last reign that began with a loss.
const blockShift = 41

func blockOf(revision int64) int64 { return revision >> blockShift }

// began is the beginning of a reign that may have lost a tail, as one operation on a register.
const began kind = "began"

// judge wants each acknowledged write in the history of the fleet, at its revision, or in a rescue file, and not in
// both; and an order of everything in which each reign goes on from what the fleet has of those before: what was lost
// is seen in the reign that lost it, and before anything was acknowledged in a later one. It returns how many
// acknowledged writes were lost.
func (l *lived) judge() (lost int, err error) {
	at := map[string]change{}
	for _, c := range l.kept {
		if other, twice := at[c.value]; twice {
			return 0, fmt.Errorf("%s was written once, and is there at revisions %d and %d", c.value, other.revision,
				c.revision)
		}
		at[c.value] = c
	}
	asked, written := map[string]bool{}, map[string]bool{}
	for _, op := range l.history {
		asked[op.value] = true // a swap that was refused is a command, too
		if op.kind == get || op.kind == swap && !op.swapped && !op.unknown {
			continue
		}
		written[op.value] = true
		c, kept := at[op.value]
		switch {
		case kept && c.key != op.key:
			return 0, fmt.Errorf("%+v is there as %+v", op, c)
		case kept && l.lost[op.value]:
			return 0, fmt.Errorf("%+v is there, and in a rescue file", op)
		case op.unknown:
		case kept && c.revision != op.revision:
			return 0, fmt.Errorf("acknowledged at revision %d, and there at %d: %+v", op.revision, c.revision, op)
		case l.lost[op.value]:
			lost++
		case !kept:
			return 0, fmt.Errorf("acknowledged, and neither there nor in a rescue file: %+v", op)
		}
	}
	for _, c := range l.kept {
		if !written[c.value] {
			return 0, fmt.Errorf("nobody wrote %+v", c)
		}
	}
	for value := range l.lost {
		if !asked[value] {
			return 0, fmt.Errorf("nobody wrote %s, which is in a rescue file", value)
		}
	}
	return lost, l.ordered(at)
}

// ordered looks for the order.
func (l *lived) ordered(at map[string]change) error {
	operations := l.placed(at)
	var blocks []int64
	keys := map[string]int{}
	for _, op := range operations {
		keys[op.key]++
		if op.revision != 0 {
			blocks = append(blocks, blockOf(op.revision))
		}
	}
	slices.Sort(blocks)
	blocks = slices.Compact(blocks)
	order := func(lost int, until int64) error {
		return l.inOrder(operations, blocks, keys, at, func(phase int) int64 {
			if phase == lost {
				return until
			}
			return math.MaxInt64
		})
	}
	err := order(0, 0)
	for phase := 1; phase < len(blocks) && err != nil; phase++ {
		for _, until := range l.bases(blocks[phase], keys) {
			if order(phase, until) == nil {
				return nil
			}
		}
	}
	return err
}

// mostBases bounds how many beginnings of one reign are tried.
const mostBases = 300

// bases returns from where a reign may have gone on that was lost as a whole: whoever took over from it had not heard
// of it, and what the reign had cut off before it began is there again.
func (l *lived) bases(block int64, keys map[string]int) (revisions []int64) {
	for _, c := range slices.Backward(l.kept) {
		switch {
		case blockOf(c.revision) == block:
			return nil // it was not
		case blockOf(c.revision) < block && keys[c.key] > 1 && len(revisions) < mostBases:
			revisions = append(revisions, c.revision-1)
		}
	}
	return revisions
}

// inOrder looks for the order, where each reign goes on from what the fleet has up to base of its phase.
func (l *lived) inOrder(
	operations []operation, blocks []int64, keys map[string]int, at map[string]change, base func(phase int) int64,
) error {
	var steps []porcupine.Operation
	for _, op := range operations {
		phase, _ := slices.BinarySearch(blocks, blockOf(op.revision))
		if keys[op.key] > 1 { // what was touched once is in any order
			steps = append(steps, placedAt(op, phase))
		}
	}
	for phase := 1; phase < len(blocks); phase++ {
		all, err := l.begun(operations, blocks[phase], at, base(phase))
		if err != nil {
			return err
		}
		for _, op := range all {
			if keys[op.key] > 1 {
				steps = append(steps, placedAt(op, phase))
			}
		}
	}
	switch porcupine.CheckOperationsTimeout(reigns, steps, checkTimeout) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("whether %d operations are linearizable is not known after %s", len(steps), checkTimeout)
	}
	return fmt.Errorf("not linearizable: %s", narrow(reigns, steps))
}

// onItsWay is for how long an answer may have been on its way to a client of this process, on a busy machine.
const onItsWay = time.Second

// begun returns what the beginning of a block did to each register. It happened after everything that began before it
// and was acknowledged or seen in a reign that it ended, and before anything was acknowledged or seen after it. Who is
// not primary any more answers nothing, also not what clients asked for in time.
func (l *lived) begun(
	operations []operation, block int64, at map[string]change, base int64,
) (all []operation, err error) {
	first, last, late := operation{ended: math.MaxInt64}, operation{}, operation{}
	values := map[string]string{}
	for _, op := range operations {
		values[op.key] = ""
		_, kept := at[op.got]
		ofReign := op.ended != math.MaxInt64 && (op.kind == put || op.swapped || op.got != "" && !kept)
		switch {
		case op.revision == 0:
		case blockOf(op.revision) >= block && op.ended < first.ended:
			first = op
		case blockOf(op.revision) < block && ofReign:
			if op.began > last.began {
				last = op
			}
			if op.ended > late.ended {
				late = op
			}
		}
	}
	if last.began > first.ended || late.ended > first.ended && late.ended-first.ended > onItsWay {
		return nil, fmt.Errorf(
			"acknowledged or seen in one reign after something was in the next: %+v or (%v later) %+v, after %+v",
			last, late.ended-first.ended, late, first)
	}
	for _, c := range l.kept {
		if blockOf(c.revision) < block && c.revision <= base {
			values[c.key] = c.value
		}
	}
	for key, value := range values {
		all = append(all, operation{
			client: -1, kind: began, key: key, value: value, began: last.began, ended: first.ended,
		})
	}
	return all, nil
}

// placed returns the operations of which it is known that they happened, each write with its revision. What ended with
// an error happened if the fleet has it, or if it was lost and seen: then at any time after it began, and it is of the
// block of those who saw it.
func (l *lived) placed(at map[string]change) (placed []operation) {
	seen := map[string]int64{} // a revision of the block
	for grew := true; grew; {
		before := len(seen)
		for _, op := range l.history {
			value, revision := op.got, op.revision
			if op.kind == swap && (op.swapped || op.unknown) {
				value = op.old
			}
			if op.unknown {
				revision = max(at[op.value].revision, seen[op.value])
			}
			if _, kept := at[value]; !kept && revision != 0 && value != "" {
				seen[value] = max(seen[value], revision)
			}
		}
		grew = len(seen) > before
	}
	for _, op := range l.history {
		if op.unknown {
			op.revision = max(at[op.value].revision, seen[op.value])
			if op.kind == get || op.revision == 0 {
				continue
			}
			op.swapped, op.ended = op.kind == swap, math.MaxInt64
		}
		placed = append(placed, op)
	}
	return placed
}

// step is an operation of a phase: a block of this history, counted from zero.
type step struct {
	operation
	phase int
}

func placedAt(op operation, phase int) porcupine.Operation {
	return porcupine.Operation{
		ClientId: max(op.client, 0), Input: step{op, phase}, Call: int64(op.began), Return: int64(op.ended),
	}
}

// reign is the state of a register: its value, and the phase.
type reign struct {
	phase int
	value string
}

// reigns is what a register does under failovers.
var reigns = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		return byKey(history, func(input any) string { return input.(step).key })
	},
	Init: func() any { return reign{} },
	Step: func(state, input, _ any) (bool, any) {
		op, s := input.(step), state.(reign)
		next := reign{op.phase, op.value}
		switch {
		case op.kind == began:
			return s.phase == op.phase-1, next
		case op.kind == put:
			return s.phase == op.phase, next
		case op.kind == swap && op.swapped:
			return s.phase == op.phase && s.value == op.old, next
		case op.kind == swap:
			return s.value == op.got && s.value != op.old, s
		default:
			return s.value == op.got, s
		}
	},
}

func TestHistoriesWithFailoversAreJudged(t *testing.T) {
	at := func(began, ended time.Duration, kind kind, value string, revision int64) operation {
		op := operation{key: "k", began: began, ended: ended, kind: kind, revision: revision}
		if kind == get {
			op.got = value
		} else {
			op.value = value
		}
		return op
	}
	unknown := func(op operation) operation {
		op.unknown, op.revision = true, 0
		return op
	}
	const next = 1 << blockShift
	a, b, c := at(1, 2, put, "a", 5), at(3, 4, put, "b", 6), at(7, 8, put, "c", next)
	swapped := at(4, 5, swap, "s", 7)
	swapped.old, swapped.swapped = "b", true
	elsewhere := at(9, 10, put, "d", next+1)
	elsewhere.key = "other"
	seenElsewhere := elsewhere
	seenElsewhere.kind, seenElsewhere.value, seenElsewhere.got = get, "", "d"
	for _, test := range []struct {
		what string
		l    lived
		lost int
		says string
	}{
		{"all is there", lived{history: []operation{a, b}, kept: []change{{5, "k", "a"}, {6, "k", "b"}}}, 0, ""},
		{"neither there nor rescued", lived{history: []operation{a, b}, kept: []change{{5, "k", "a"}}}, 0, "neither"},
		{"rescued", lived{history: []operation{a, b, c}, kept: []change{{5, "k", "a"}, {next, "k", "c"}},
			lost: map[string]bool{"b": true}}, 1, ""},
		{"rescued, and a chain of it", lived{history: []operation{a, unknown(b), swapped, c},
			kept: []change{{5, "k", "a"}, {next, "k", "c"}}, lost: map[string]bool{"b": true, "s": true}}, 1, ""},
		{"there and rescued", lived{history: []operation{a, b}, kept: []change{{5, "k", "a"}, {6, "k", "b"}},
			lost: map[string]bool{"b": true}}, 0, "and in a rescue file"},
		{"there twice", lived{history: []operation{a}, kept: []change{{5, "k", "a"}, {6, "k", "a"}}},
			0, "written once"},
		{"there at another revision", lived{history: []operation{a}, kept: []change{{6, "k", "a"}}}, 0, "there at 6"},
		{"from nowhere", lived{kept: []change{{6, "k", "a"}}}, 0, "nobody wrote"},
		{"rescued from nowhere", lived{lost: map[string]bool{"z": true}}, 0, "nobody wrote"},
		{"unknown, and rescued", lived{history: []operation{unknown(a)}, lost: map[string]bool{"a": true}}, 0, ""},
		{"what was lost is read before", lived{
			history: []operation{a, b, at(5, 6, get, "b", 6), c, at(9, 10, get, "c", next)},
			kept:    []change{{5, "k", "a"}, {next, "k", "c"}}, lost: map[string]bool{"b": true}}, 1, ""},
		{"what was lost is read afterwards", lived{
			history: []operation{a, b, c, at(9, 10, get, "b", 6)},
			kept:    []change{{5, "k", "a"}, {next, "k", "c"}}, lost: map[string]bool{"b": true}}, 0, "after"},
		{"what was lost is read after another register was written", lived{
			history: []operation{a, b, elsewhere, at(11, 12, get, "b", 6)},
			kept:    []change{{5, "k", "a"}, {next + 1, "other", "d"}}, lost: map[string]bool{"b": true}}, 0, "after"},
		{"what was lost is read before another register was written", lived{
			history: []operation{a, b, elsewhere, at(8, 12, get, "b", 6), at(13, 14, get, "a", 5)},
			kept:    []change{{5, "k", "a"}, {next + 1, "other", "d"}}, lost: map[string]bool{"b": true}}, 1, ""},
		{"the past is read beside what is lost", lived{
			history: []operation{a, b, at(5, 6, get, "a", 5), at(7, 8, put, "z", 7), c},
			kept:    []change{{5, "k", "a"}, {next, "k", "c"}}, lost: map[string]bool{"b": true, "z": true}},
			0, "not linearizable"},
		{"a reign that was lost whole, and what it had cut off is there", lived{
			history: []operation{a, unknown(b), at(5, 6, get, "a", 5), at(7, 8, put, "c", next), at(9, 10, get, "b", 6),
				at(11, 12, put, "d", 2*next)},
			kept: []change{{5, "k", "a"}, {6, "k", "b"}, {2 * next, "k", "d"}}, lost: map[string]bool{"c": true},
		}, 1, ""},
		{"the same, and what was before is read beside it", lived{
			history: []operation{a, b, at(7, 8, put, "c", next), at(9, 10, get, "a", 5), at(11, 12, put, "d", 2*next)},
			kept:    []change{{5, "k", "a"}, {6, "k", "b"}, {2 * next, "k", "d"}},
			lost:    map[string]bool{"c": true}}, 0, "not linearizable"},
		{"acknowledged after the fence", lived{
			history: []operation{a, c, seenElsewhere, elsewhere, at(11, 12, put, "b", 6)},
			kept:    []change{{5, "k", "a"}, {next, "k", "c"}, {next + 1, "other", "d"}},
			lost:    map[string]bool{"b": true}}, 0, "after"},
		{"asked for before the fence, and acknowledged long after it", lived{
			history: []operation{elsewhere, at(1, 11+onItsWay, put, "b", 6)},
			kept:    []change{{next + 1, "other", "d"}}, lost: map[string]bool{"b": true}}, 0, "after"},
		{"acknowledged after the fence, a key of its own", lived{
			history: []operation{elsewhere, at(11, 12, put, "b", 6)},
			kept:    []change{{next + 1, "other", "d"}}, lost: map[string]bool{"b": true}}, 0, "after"},
	} {
		lost, err := test.l.judge()
		if got := errorText(err); test.says == "" && err != nil || !strings.Contains(got, test.says) ||
			err == nil && lost != test.lost {
			t.Errorf("%s: %d lost, %v", test.what, lost, err)
		}
	}
}
