package replication

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestUnitsCrossUnchanged(t *testing.T) {
	now := time.Unix(1000, 0)
	message := beginForward(64)
	message = appendForward(message, 7, &unit{commands: []Command{{Data: []byte("a")}, {}}, regions: 2, deadline: now.Add(10 * time.Second)}, now)
	message = appendForward(message, 8, &unit{commands: []Command{{Data: []byte("b")}}}, now)
	var ids []uint64
	err := readForwards(message, now, func(id uint64, u *unit) {
		ids = append(ids, id)
		if id == 7 && (len(u.commands) != 2 || string(u.commands[0].Data) != "a" || u.regions != 2 || u.deadline.Sub(now) != 9*time.Second || u.bytes != 1) {
			t.Errorf("unit 7: %+v", u)
		}
		if id == 8 && (!u.deadline.IsZero() || !u.foreign) {
			t.Errorf("unit 8: %+v", u)
		}
	})
	if err != nil || len(ids) != 2 {
		t.Fatalf("%v, %v", ids, err)
	}
	for i := range message {
		flipped := bytes.Clone(message)
		flipped[i] ^= 1
		if err := readForwards(flipped, now, func(uint64, *unit) {}); !errors.Is(err, ErrMessage) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

func TestAnswersKeepTheirErrors(t *testing.T) {
	for _, want := range []error{nil, ErrTooLarge, ErrUnderReplicated, ErrUnknownOutcome, ErrStopped, ErrArgument} {
		message := appendAnswer(nil, 3, result{receipt: &Receipt{Epoch: 2, Position: 9, Regions: 1, Results: [][]byte{[]byte("r"), nil}}, err: want})
		err := readAnswers(message, func(id uint64, status byte, r *Receipt, text string) {
			got := resultOf(status, r, text)
			expected := want
			switch want {
			case ErrStopped: // the leader stopped: nobody knows
				expected = ErrUnknownOutcome
			case ErrArgument:
				expected = ErrRejected
			}
			if id != 3 || !errors.Is(got.err, expected) || (want == nil && (got.receipt.Position != 9 || len(got.receipt.Results) != 2)) {
				t.Errorf("%v: %+v, %v", want, got.receipt, got.err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := statusOf(fmt.Errorf("%w: %w", ErrUnderReplicated, ErrNotLeader)); status != answerUnderReplicated {
		t.Errorf("a unit that was applied has status %d", status)
	}
	if status, _ := statusOf(ErrNotReady); status != answerNotTaken {
		t.Errorf("a unit that was not taken has status %d", status)
	}
}

func FuzzForward(f *testing.F) {
	f.Add(appendForward(beginForward(64), 7, &unit{commands: []Command{{Data: []byte("a")}}}, time.Unix(0, 0)))
	f.Add(appendAnswer(nil, 3, result{receipt: &Receipt{Results: [][]byte{{1}}}}))
	m := Metadata{AppliedIndex: 4, Record: []byte("r")}
	encoded, err := m.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, err := range []error{
			readForwards(p, time.Unix(0, 0), func(uint64, *unit) {}),
			readAnswers(p, func(uint64, byte, *Receipt, string) {}),
		} {
			if err != nil && !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
		}
		var m Metadata
		if m.UnmarshalBinary(p) == nil {
			if again, err := m.MarshalBinary(); err != nil || !bytes.Equal(again, p) {
				t.Fatalf("metadata %x is not what it decodes to: %v", p, err)
			}
		}
	})
}
