package slots

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// TestTheRegionsOfAWriteAreNamed to whoever is told that they are too few: those that have it.
func TestTheRegionsOfAWriteAreNamed(t *testing.T) {
	b := newTrackerBench(t)
	b.do("lead")
	b.do("ack eu 3 15")
	var told []error
	note := func(_ *contract.Receipt, err error) { told = append(told, err) }
	b.Await(4, &contract.Receipt{Epoch: 3, Position: 15, Regions: 1}, b.after(5), func() bool { return false }, note)
	b.Await(2, &contract.Receipt{Epoch: 3, Position: 16, Regions: 1}, b.after(9), func() bool { return false }, note)
	b.do("ack sa 3 15")
	b.do("at 5")
	b.do("down")
	if len(told) != 2 {
		t.Fatal(told)
	}
	for i, text := range []string{
		"position 15 is in 3 of 4 regions: us, eu, sa",
		"position 16 is in 1 of 2 regions: us",
	} {
		if !errors.Is(told[i], contract.ErrUnderReplicated) || !strings.Contains(told[i].Error(), text) {
			t.Errorf("%v, want %s", told[i], text)
		}
	}
	if !errors.Is(told[1], errLedElsewhere) {
		t.Errorf("%v", told[1])
	}
}
