package slots

import (
	"errors"
	"strings"
	"testing"
	"time"

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

// TestWhoWaitsForARegionThatIsAwayCostsOthersNothing: an acknowledgement looks at those alone who wait for what is
// news. Each look at a wait allocates, so that their number shows.
func TestWhoWaitsForARegionThatIsAwayCostsOthersNothing(t *testing.T) {
	const waits = 2000
	b := newTrackerBench(t)
	b.past.state.Cursor.Position = 11 + 2*waits
	b.do("lead")
	told := 0
	await := func(p contract.Position, k int) {
		b.Await(k, &contract.Receipt{Epoch: 3, Position: p, Regions: 1}, b.after(9), func() bool { return false },
			func(*contract.Receipt, error) { told++ })
	}
	next := contract.Position(11)
	for range waits { // for two others, of which one is away
		await(next, 3)
		next++
	}
	b.acknowledge(acknowledgement{Region: "eu", Epoch: 3, Position: next - 1})
	looked := testing.AllocsPerRun(100, func() {
		await(next, 2)
		b.acknowledge(acknowledgement{Region: "eu", Epoch: 3, Position: next})
		next++
	})
	if looked > 50 || told != 101 {
		t.Errorf("%v allocations for one acknowledgement, %d told", looked, told)
	}
	b.acknowledge(acknowledgement{Region: "ap", Epoch: 3, Position: 10 + waits})
	if told != 101+waits || len(b.waiting) != 0 {
		t.Errorf("%d told, %d wait", told, len(b.waiting))
	}
	if left := b.next(b.start, time.Hour); left > 9*time.Second {
		t.Errorf("looks again in %v", left)
	}
	b.expire(b.start)
	if left := b.next(b.start, time.Hour); left != time.Hour {
		t.Errorf("nobody waits, and it looks again in %v", left)
	}
}

// TestWhoCanCount: this region and others of the fleet, where nothing may be lost those that vote.
func TestWhoCanCount(t *testing.T) {
	for _, c := range []struct {
		steps string
		want  int
	}{
		{"lead", 4}, {"fleet ap eu us", 3}, {"charter 9 eu us w", 4}, {"charter 0 eu us w", 2},
		{"charter 0 ap eu w", 3},
	} {
		b := newTrackerBench(t)
		b.do(c.steps)
		if n := b.Countable([]string{"ap", "eu", "sa", "us"}); n != c.want {
			t.Errorf("%s: %d, want %d", c.steps, n, c.want)
		}
	}
}
