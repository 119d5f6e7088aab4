package e2e

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTimeout bounds the search for an order in which a history could have happened.
const checkTimeout = 2 * time.Minute

// register is what one key does: a state is its value, "" for none.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		return byKey(history, func(input any) string { return input.(operation).key })
	},
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		op, held := input.(operation), state.(string)
		switch {
		case op.kind == put:
			return true, op.value
		case op.kind == swap && op.swapped:
			return held == op.old, op.value
		case op.kind == swap:
			return held == op.got && held != op.old, held
		default:
			return held == op.got, held
		}
	},
}

func byKey(history []porcupine.Operation, key func(input any) string) (keys [][]porcupine.Operation) {
	place := map[string]int{}
	for _, o := range history {
		i, ok := place[key(o.Input)]
		if !ok {
			i = len(keys)
			place[key(o.Input)] = i
			keys = append(keys, nil)
		}
		keys[i] = append(keys[i], o)
	}
	return keys
}

// linearizable wants an order of all operations that their times allow and in which each has the answer that it got.
func linearizable(history []operation) error {
	var operations []porcupine.Operation
	for _, op := range settled(history) {
		operations = append(operations, porcupine.Operation{
			ClientId: op.client, Input: op, Call: int64(op.began), Return: int64(op.ended),
		})
	}
	switch porcupine.CheckOperationsTimeout(register, operations, checkTimeout) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("whether %d operations are linearizable is not known after %s", len(operations), checkTimeout)
	}
	return errors.New("not linearizable: " + narrow(register, operations))
}

// settled leaves out what ended with an error and was never seen: it can be put behind all that was seen. What was
// seen happened, at any time after it began.
func settled(history []operation) (kept []operation) {
	seen := map[string]bool{}
	for grew := true; grew; {
		before := len(seen)
		for _, op := range history {
			switch {
			case !op.unknown:
				seen[op.key+" "+op.got] = true
				if op.swapped {
					seen[op.key+" "+op.old] = true
				}
			case op.kind == swap && seen[op.key+" "+op.value]:
				seen[op.key+" "+op.old] = true
			}
		}
		grew = len(seen) > before
	}
	for _, op := range history {
		if op.unknown {
			if op.kind == get || !seen[op.key+" "+op.value] {
				continue
			}
			op.swapped, op.ended = op.kind == swap, math.MaxInt64
		}
		kept = append(kept, op)
	}
	return kept
}

// narrow tells of the first key that is wrong what happened last before it went wrong.
func narrow(model porcupine.Model, operations []porcupine.Operation) string {
	const shown = 30
	for _, history := range model.Partition(operations) {
		result, info := porcupine.CheckOperationsVerbose(model, history, checkTimeout)
		if result != porcupine.Illegal {
			continue
		}
		var text strings.Builder
		longest := 0
		for _, order := range info.PartialLinearizations()[0] {
			longest = max(longest, len(order))
		}
		fmt.Fprintf(&text, "of %d operations at most %d can be put in order; near there:", len(history), longest)
		for _, o := range history[max(0, min(longest, len(history))-shown):min(len(history), longest+shown)] {
			fmt.Fprintf(&text, "\n%+v", o.Input)
		}
		return text.String()
	}
	return "and no key of it by itself is"
}

func TestLinearizable(t *testing.T) {
	at := func(began, ended time.Duration, op operation) operation {
		op.key, op.began, op.ended = "k", began, ended
		return op
	}
	wrote := at(1, 2, operation{kind: put, value: "a"})
	lost := at(3, 4, operation{kind: put, value: "b", unknown: true})
	for _, c := range []struct {
		what    string
		history []operation
		ok      bool
	}{
		{"read after write", []operation{wrote, at(3, 4, operation{kind: get, got: "a"})}, true},
		{"lost write", []operation{wrote, at(3, 4, operation{kind: get})}, false},
		{"unknown write, never seen", []operation{wrote, lost, at(5, 6, operation{kind: get, got: "a"})}, true},
		{"unknown write, seen late", []operation{
			wrote, lost, at(5, 6, operation{kind: get, got: "a"}), at(7, 8, operation{kind: get, got: "b"}),
		}, true},
		{"unknown write, seen and gone", []operation{
			wrote, lost, at(5, 6, operation{kind: get, got: "b"}), at(7, 8, operation{kind: get, got: "a"}),
		}, false},
		{"seen before it was written", []operation{at(0, 0, operation{kind: get, got: "a"}), wrote}, false},
		{"two swaps of one value", []operation{
			wrote, at(3, 6, operation{kind: swap, old: "a", value: "b", swapped: true}),
			at(4, 5, operation{kind: swap, old: "a", value: "c", swapped: true}),
		}, false},
		{"a swap that was refused", []operation{
			wrote, at(3, 4, operation{kind: swap, old: "z", value: "c", got: "a"}),
		}, true},
		{"a swap that was refused without a reason", []operation{
			wrote, at(3, 4, operation{kind: swap, old: "a", value: "c", got: "a"}),
		}, false},
	} {
		if err := linearizable(c.history); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}
