package propose

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
)

func TestUnitsCrossUnchanged(t *testing.T) {
	now := time.Unix(1000, 0)
	message := beginForward(64)
	first := &proposal{
		commands: []contract.Command{{Data: []byte("a")}, {}}, regions: 2, deadline: now.Add(10 * time.Second),
	}
	message = appendForward(message, 7, first, now)
	message = appendForward(message, 8, &proposal{commands: []contract.Command{{Data: []byte("b")}}}, now)
	count := 0
	err := readForwards(message, now, &answers{}, func(u *proposal) {
		count++
		if count == 1 && (len(u.commands) != 2 || string(u.commands[0].Data) != "a" || u.regions != 2 ||
			u.deadline.Sub(now) != 9*time.Second || u.bytes != 1) {
			t.Errorf("proposal 7: %+v", u)
		}
		if count == 2 && (!u.deadline.IsZero() || u.from == nil) {
			t.Errorf("proposal 8: %+v", u)
		}
	})
	if err != nil || count != 2 {
		t.Fatalf("%d, %v", count, err)
	}
	for i := range message {
		flipped := bytes.Clone(message)
		flipped[i] ^= 1
		if err := readForwards(flipped, now, &answers{}, func(*proposal) {}); !errors.Is(err, contract.ErrMessage) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

// across sends a result as an answer and returns what the node that asked makes of it; ok is false if it sends the
// proposal elsewhere.
func across(t *testing.T, r result) (out result, ok bool) {
	t.Helper()
	message := appendAnswer(nil, 3, r)
	if n := answerBytes(r); n != len(message) {
		t.Errorf("answer of %d bytes was taken for one of %d", len(message), n)
	}
	err := readAnswers(message, func(id uint64, status byte, r *contract.Receipt, text string) {
		if id != 3 {
			t.Errorf("answer to %d", id)
		}
		out, ok = resultOf(status, r, text), status != answerNotTaken
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, ok
}

func TestAnswersKeepTheirResults(t *testing.T) {
	sent := &contract.Receipt{Epoch: 2, Position: 9, Regions: 1, Results: [][]byte{[]byte("r"), nil}}
	for _, err := range []error{nil, contract.ErrUnderReplicated} {
		got, ok := across(t, result{receipt: sent, err: err})
		r := got.receipt
		if !ok || !errors.Is(got.err, err) || r.Position != 9 || r.Epoch != 2 || len(r.Results) != 2 {
			t.Errorf("%v: %+v, %v", err, r, got.err)
		}
	}
}

// An error that says in any way that nobody knows, or that something was done, never reads as "certainly not applied".
func TestAnswersKeepTheirErrors(t *testing.T) {
	kinds := []struct{ sent, got error }{
		{contract.ErrUnknownOutcome, contract.ErrUnknownOutcome},
		{contract.ErrUnderReplicated, contract.ErrUnderReplicated},
		{contract.ErrAlreadyBegun, contract.ErrUnknownOutcome},
		{contract.ErrRejected, contract.ErrRejected},
		{errNoCommands, contract.ErrRejected},
		{contract.ErrTooLarge, contract.ErrTooLarge},
		{contract.ErrUnknownRegion, contract.ErrRejected},
		{contract.ErrStopped, contract.ErrUnknownOutcome}, // the leader stopped: nobody knows
		{contract.ErrClosed, contract.ErrUnknownOutcome},
		{contract.ErrNotLeader, contract.ErrNotReady},
		{contract.ErrNotReady, contract.ErrNotReady},
		{errors.New("something else"), contract.ErrUnknownOutcome},
	}
	check := func(sent, want error) {
		t.Helper()
		got, ok := across(t, result{receipt: &contract.Receipt{}, err: sent})
		if peer.Kind(got.err) != want || ok != (want != contract.ErrNotReady) {
			t.Errorf("%q arrives as %q, want %v; stays %t", sent, got.err, want, ok)
		}
	}
	for range 10 {
		for i, k := range kinds {
			check(k.sent, k.got)
			check(fmt.Errorf("at the end: %w", k.sent), k.got)
			for j, o := range kinds {
				first := k // in the list: the one that binds more
				if j < i || peer.Kind(k.sent) == nil {
					first = o
				}
				check(fmt.Errorf("%w: %w", k.sent, o.sent), first.got)
				check(fmt.Errorf("%w: %w", o.sent, k.sent), first.got)
				check(errors.Join(o.sent, k.sent), first.got)
			}
		}
	}
}

func TestCallersThatLeftAreNamed(t *testing.T) {
	message := encodeLeft([]uint64{1, 1 << 40})
	var ids []uint64
	visit := func(id uint64) { ids = append(ids, id) }
	if err := readLeft(message, visit); err != nil || !slices.Equal(ids, []uint64{1, 1 << 40}) {
		t.Fatal(ids, err)
	}
	for i := 1; i < len(message); i++ {
		flipped := bytes.Clone(message)
		flipped[i] ^= 1
		for _, bad := range [][]byte{flipped, message[:i]} {
			if err := readLeft(bad, visit); !errors.Is(err, contract.ErrMessage) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	}
}

func FuzzForward(f *testing.F) {
	u := &proposal{commands: []contract.Command{{Data: []byte("a")}}}
	f.Add(appendForward(beginForward(64), 7, u, time.Unix(0, 0)))
	f.Add(appendAnswer(nil, 3, result{receipt: &contract.Receipt{Results: [][]byte{{1}}}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, err := range []error{
			readForwards(p, time.Unix(0, 0), &answers{}, func(*proposal) {}),
			readAnswers(p, func(uint64, byte, *contract.Receipt, string) {}),
			readLeft(p, func(uint64) {}),
		} {
			if err != nil && !errors.Is(err, contract.ErrMessage) {
				t.Fatal(err)
			}
		}
	})
}
