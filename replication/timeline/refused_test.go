package timeline

import (
	"errors"
	"reflect"
	"testing"
)

// lostItsEpoch is a region that lost its disks, and with them the reign that its own history goes on with; behind that
// one, without a command between them, another region began.
func lostItsEpoch() (s *State, own, next Reign) {
	us := Reign{Epoch: 1, First: 1, Primary: "us"}
	at := Cursor{Epoch: 1, Position: 444, Chain: Chain{1}}
	own = Reign{Epoch: 2, First: 445, Primary: "eu", Handoff: 1, Nonce: Nonce{2}, Previous: at.Chain}
	next = Reign{Epoch: 3, First: 445, Primary: "us", Nonce: Nonce{3}, Previous: NewFolder().Reign(at.Chain, own)}
	return &State{Region: "eu", Cursor: at, Reigns: []Reign{us}}, own, next
}

// refusals are what a region has decided that keeps it from its own epoch 2.
var refusals = map[string]func(s *State, next Reign){
	"it yielded":            func(s *State, next Reign) { s.Yielded = next },
	"it refused a handoff":  func(s *State, _ Reign) { s.Refused = Refusal{Epoch: 1, Handoff: 1} },
	"it voted for another":  func(s *State, _ Reign) { s.Ballot = ballotFor(3, "us") },
	"it has given no vote":  func(s *State, _ Reign) { s.Ballot = ballotFor(1, "us") },
	"it voted for an order": func(s *State, _ Reign) { s.Ballot = ballotFor(2, "eu") },
	"it has diverged": func(s *State, next Reign) {
		s.Diverged = &Divergence{Fork: 440, At: 444, Claim: next}
	},
}

func ballotFor(e Epoch, region string) *Ballot {
	b := *chartered("eu").Ballot
	b.Promised, b.For, b.Handoff = e, region, 0
	return &b
}

// TestWhatFollowsARefusedReignIsRefused: what a stream brought behind a reign that the region does not begin is no
// damage, however often it comes, and whatever the storage had of it when a node was started again.
func TestWhatFollowsARefusedReignIsRefused(t *testing.T) {
	for what, refuse := range refusals {
		t.Run(what, func(t *testing.T) {
			s, own, next := lostItsEpoch()
			refuse(s, next)
			last := Reign{Epoch: 4, First: 445, Primary: "ap", Previous: NewFolder().Reign(next.Previous, next)}
			m := NewMachine(s)
			at := s.Cursor
			for _, r := range []Reign{own, own, next, next, last, own, next, last} {
				if outcome, why, err := m.Reign(r); outcome != Refused || why == "" || err != nil {
					t.Fatalf("epoch %d: %v, %q, %v", r.Epoch, outcome, why, err)
				}
				m = restarted(t, m)
				holds(t, m)
			}
			f := &Frame{Epoch: 4, First: 445, Previous: NewFolder().Reign(last.Previous, last),
				Commands: []Command{{Data: []byte("x")}}}
			if outcome, _, err := m.Frame(f); outcome != Refused || err != nil {
				t.Errorf("a frame behind it: %v, %v", outcome, err)
			}
			if m.Cursor() != at {
				t.Errorf("moved from %+v to %+v", at, m.Cursor())
			}
			broken := Reign{Epoch: 5, First: 445, Primary: "us", Previous: Chain{9}}
			if _, _, err := m.Reign(broken); s.Diverged == nil && !errors.Is(err, ErrChain) {
				t.Errorf("a reign that follows nothing known: %v", err)
			}
		})
	}
}

// restarted is m as a node has it that starts with what its storage keeps.
func restarted(t *testing.T, m *Machine) *Machine {
	t.Helper()
	record, err := m.Record()
	if err != nil {
		t.Fatal(err)
	}
	s, err := DecodeRecord(record, m.Cursor())
	if err != nil {
		t.Fatal(err)
	}
	if now := m.State(); !reflect.DeepEqual(*s, now) {
		t.Fatalf("%+v was kept as %+v", now, *s)
	}
	return NewMachine(s)
}

// TestOnlyWhatFollowsARefusedReignIsRefused: a chain that breaks elsewhere stops the node, before and after.
func TestOnlyWhatFollowsARefusedReignIsRefused(t *testing.T) {
	s, own, next := lostItsEpoch()
	s.Yielded = next
	m := NewMachine(s)
	if _, _, err := m.Reign(next); !errors.Is(err, ErrChain) {
		t.Errorf("nothing was refused before it: %v", err)
	}
	far := own
	far.Previous = Chain{7}
	if outcome, _, err := m.Reign(far); outcome != Refused || err != nil {
		t.Fatal(outcome, err)
	}
	behind := Reign{Epoch: 3, First: 445, Primary: "us", Previous: NewFolder().Reign(far.Previous, far)}
	if _, _, err := m.Reign(behind); !errors.Is(err, ErrChain) {
		t.Errorf("what was refused before it does not continue the history either: %v", err)
	}
	if m.state.PassedOver != nil {
		t.Errorf("remembers %v", m.state.PassedOver)
	}
}

// TestAReignThatWasRefusedMayBeginLater: what follows it continues the history then.
func TestAReignThatWasRefusedMayBeginLater(t *testing.T) {
	s, own, next := lostItsEpoch()
	s.Diverged = &Divergence{Fork: 440, At: 444, Claim: Reign{Epoch: 1, Primary: "eu"}}
	m := NewMachine(s)
	if outcome, _, err := m.Reign(own); outcome != Refused || err != nil {
		t.Fatal(outcome, err)
	}
	m.state.Diverged = nil
	for _, r := range []Reign{own, next} {
		if outcome, why, err := m.Reign(r); outcome != Applied || err != nil {
			t.Fatalf("epoch %d: %v, %s, %v", r.Epoch, outcome, why, err)
		}
	}
	f := &Frame{Epoch: 3, First: 445, Previous: m.Cursor().Chain, Commands: []Command{{Data: []byte("x")}}}
	if outcome, why, err := m.Frame(f); outcome != Applied || err != nil || m.state.PassedOver != nil {
		t.Errorf("a frame: %v, %s, %v; remembers %v", outcome, why, err, m.state.PassedOver)
	}
	holds(t, m)
}

// TestAReignOfAnEpochThatAnotherHasBegun: its own frames have the number of the epoch that is here, and are no damage.
func TestAReignOfAnEpochThatAnotherHasBegun(t *testing.T) {
	s, own, _ := lostItsEpoch()
	m := NewMachine(s)
	theirs := Reign{Epoch: 2, First: 445, Primary: "ap", Nonce: Nonce{9}, Previous: s.Cursor.Chain}
	if outcome, _, err := m.Reign(own); outcome != Applied || err != nil {
		t.Fatal(outcome, err)
	}
	if outcome, _, err := m.Reign(theirs); outcome != Refused || err != nil {
		t.Fatal(outcome, err)
	}
	after := NewFolder().Reign(theirs.Previous, theirs)
	f := &Frame{Epoch: 2, First: 445, Previous: after, Commands: []Command{{Data: []byte("x")}}}
	if outcome, why, err := m.Frame(f); outcome != Refused || err != nil {
		t.Errorf("a frame: %v, %s, %v", outcome, why, err)
	}
	next := Reign{Epoch: 3, First: 445, Primary: "us", Previous: after}
	if outcome, why, err := m.Reign(next); outcome != Refused || err != nil {
		t.Errorf("a reign: %v, %s, %v", outcome, why, err)
	}
	f.Previous[0]++
	if _, _, err := m.Frame(f); !errors.Is(err, ErrChain) {
		t.Errorf("a frame that follows nothing known: %v", err)
	}
}

// TestWhatIsRememberedOfRefusedReignsIsBounded, and goes where the history moves.
func TestWhatIsRememberedOfRefusedReignsIsBounded(t *testing.T) {
	s, own, next := lostItsEpoch()
	s.Yielded = next
	m := NewMachine(s)
	for i := range 3 * maxPassedOver {
		own.Nonce[1] = byte(i)
		if outcome, _, err := m.Reign(own); outcome != Refused || err != nil {
			t.Fatal(outcome, err)
		}
	}
	kept := m.state.PassedOver
	if len(kept) != maxPassedOver || kept[maxPassedOver-1] != NewFolder().Reign(own.Previous, own) {
		t.Errorf("%d are kept", len(kept))
	}
	copied := &Origin{Cursor: Cursor{Epoch: 3, Position: 500}, Reigns: append(s.Reigns, own, next)}
	c := &Control{Op: OpInstall, Checkpoint: "c", Origin: copied}
	if outcome, why, err := m.Control(c); outcome != Applied || err != nil || m.state.PassedOver != nil {
		t.Errorf("%v, %s, %v; %d are kept", outcome, why, err, len(m.state.PassedOver))
	}
}
