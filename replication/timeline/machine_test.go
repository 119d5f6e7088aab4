package timeline

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestMachine runs the scripts in testdata/machine. Each block names a region and lists entries that are applied to it,
// one a line; below stand what became of each, and the region's state. Fields left out continue the region as it is;
// "from REGION" applies that region's whole history, as its stream would.
func TestMachine(t *testing.T) {
	datadriven.Walk(t, "testdata/machine", func(t *testing.T, path string) {
		w := world{machines: map[string]*Machine{}, history: map[string][]any{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			m := w.machines[d.Cmd]
			if m == nil {
				m = NewMachine(&State{Region: d.Cmd})
				w.machines[d.Cmd] = m
			}
			var b strings.Builder
			for line := range strings.Lines(d.Input) {
				b.WriteString(w.apply(t, m, strings.Fields(line)))
			}
			s := m.State()
			b.WriteString(describe(&s))
			return b.String()
		})
	})
}

// world is the regions of one script, and the history that each has applied.
type world struct {
	machines map[string]*Machine
	history  map[string][]any
}

func (w *world) apply(t *testing.T, m *Machine, words []string) string {
	t.Helper()
	s := m.State()
	defer holds(t, m)
	args := map[string]string{}
	for _, a := range words[1:] {
		k, v, _ := strings.Cut(a, "=")
		args[k] = v
	}
	number := func(key string, otherwise uint64) uint64 {
		if args[key] == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(args[key], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var entry any
	switch words[0] {
	case "from":
		w.follow(t, m, words[1])
		return ""
	case "frame":
		f := Frame{
			Epoch: Epoch(number("epoch", uint64(s.Cursor.Epoch))),
			First: Position(number("first", uint64(s.Cursor.Position+1))), Previous: s.Cursor.Chain,
		}
		for i := range number("n", 1) {
			f.Commands = append(f.Commands, Command{Data: fmt.Appendf(nil, "%s-%d-%d", s.Region, f.First, i)})
		}
		if args["chain"] == "wrong" {
			f.Previous[0]++
		}
		entry = f
	case "reign":
		primary := args["primary"]
		if primary == "" {
			primary = s.Region
		}
		_, lossy := args["lossy"]
		entry = Reign{
			Epoch:   Epoch(number("epoch", uint64(s.Cursor.Epoch+1))),
			First:   Position(number("first", uint64(s.Cursor.Position+1))),
			Primary: primary, Lossy: lossy, Handoff: number("handoff", 0), Previous: s.Cursor.Chain,
		}
	default:
		c := &Control{
			Op: Op(words[0]), Epoch: Epoch(number("epoch", uint64(s.Cursor.Epoch))),
			Handoff: number("handoff", s.Handoffs+1), To: args["to"],
			Fork: Position(number("fork", 0)), At: Position(number("at", uint64(s.Cursor.Position))),
		}
		if other := w.machines[args["claim"]]; other != nil {
			claim := other.state.HighestClaim()
			c.Claim = &claim
		}
		if other := w.machines[args["of"]]; other != nil {
			c.Checkpoint, c.Origin = "copy", &Origin{Cursor: other.State().Cursor, Reigns: other.State().Reigns}
		}
		entry = c
	}
	return fmt.Sprintf("%s: %s\n", strings.Join(words, " "), w.one(m, entry))
}

func (w *world) one(m *Machine, entry any) string {
	var outcome Outcome
	var why string
	var err error
	switch e := entry.(type) {
	case Frame:
		outcome, why, err = m.Frame(&e)
	case Reign:
		outcome, why, err = m.Reign(e)
	case *Control:
		outcome, why, err = m.Control(e)
	}
	if err != nil {
		text, _, _ := strings.Cut(err.Error(), ":")
		return "error " + text + strings.TrimPrefix(err.Error(), text)[:min(40, len(err.Error())-len(text))]
	}
	if _, control := entry.(*Control); outcome == Applied && !control {
		w.history[m.State().Region] = append(w.history[m.State().Region], entry)
	}
	if why != "" {
		return outcome.String() + ", " + why
	}
	return outcome.String()
}

func (w *world) follow(t *testing.T, m *Machine, source string) {
	for _, e := range w.history[source] {
		w.one(m, e)
		holds(t, m)
	}
}

// holds checks what is true of a machine after every step: its state is valid, and what readers get is that state.
func holds(t *testing.T, m *Machine) {
	t.Helper()
	if err := m.state.valid(); err != nil {
		t.Fatal(err)
	}
	if shown := m.State(); !reflect.DeepEqual(shown, *m.state.Clone()) {
		t.Fatalf("readers see %+v, the machine has %+v", shown, *m.state)
	}
	record, err := m.Record()
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := m.state.EncodeRecord(); err != nil || string(fresh) != string(record) {
		t.Fatalf("record %s of state %s, %v", record, fresh, err)
	}
}

func describe(s *State) string {
	text := fmt.Sprintf("%s is %s, epoch %d, position %d, writable %t", s.Region, s.Role(), s.Cursor.Epoch,
		s.Cursor.Position, s.Writable())
	if s.Seal != nil {
		text += fmt.Sprintf(", sealed at %d for %s by handoff %d", s.Seal.Position, s.Seal.To, s.Seal.Handoff)
	}
	if s.Diverged != nil {
		text += fmt.Sprintf(", tail (%d, %d]", s.Diverged.Fork, s.Diverged.At)
	}
	if s.Yielded.Epoch != 0 {
		text += fmt.Sprintf(", yielded to epoch %d of %s", s.Yielded.Epoch, s.Yielded.Primary)
	}
	return text + "\n"
}

// A copy whose description contradicts itself comes from a faulty peer: the region stays as it is, and goes on.
func TestACheckpointThatContradictsItselfIsRefused(t *testing.T) {
	m := NewMachine(&State{Region: "eu"})
	before := m.State()
	for _, origin := range []Origin{
		{Cursor: Cursor{Epoch: 7, Position: 10}},
		{Cursor: Cursor{Epoch: 1, Position: 10}, Reigns: []Reign{{Epoch: 1, First: 20, Primary: "us"}}},
		{
			Cursor: Cursor{Epoch: 2, Position: 10},
			Reigns: []Reign{{Epoch: 3, First: 1, Primary: "us"}, {Epoch: 2, First: 1, Primary: "us"}},
		},
	} {
		outcome, _, err := m.Control(&Control{Op: OpInstall, Checkpoint: "copy", Origin: &origin})
		if outcome != Refused || err != nil || !reflect.DeepEqual(m.State(), before) {
			t.Errorf("%+v: %v, %v", origin, outcome, err)
		}
	}
}
