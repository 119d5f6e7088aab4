package ballot

import (
	"flag"
	"testing"
	"time"
)

var worlds = flag.Int("ballot.worlds", 300, "how many worlds each search visits at most")

// searches are what the rules are searched with.
var searches = []struct {
	name  string
	limit limits
}{
	{"a leader changes", limits{Epochs: 2, Changes: 1, Stands: 1, MaxLoss: anyLoss}},
	{"the witness restarts", limits{Epochs: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss}},
	{"both stand", limits{Epochs: 3, Stands: 2, MaxLoss: anyLoss}},
	{"a budget", limits{Epochs: 2, Stands: 1, Writes: 3, MaxLoss: 1}},
	{"a budget that stops writes", limits{Epochs: 2, Stands: 1, Writes: 3, MaxLoss: 1, StopWrites: true}},
	{"nothing may be lost", limits{Epochs: 3, Stands: 2, Writes: 3}},
	{"a handoff", limits{Epochs: 3, Stands: 1, Writes: 1, Seals: 1, Refuses: 1, MaxLoss: 2}},
	{"a voter is replaced", limits{Epochs: 2, Stands: 1, Charters: 2, MaxLoss: anyLoss}},
	{"a voter is replaced, and both stand", limits{Epochs: 3, Stands: 2, Charters: 2, MaxLoss: anyLoss}},
	{"a voter is replaced, and a leader changes",
		limits{Epochs: 2, Changes: 1, Stands: 1, Charters: 2, MaxLoss: anyLoss}},
	{"a voter is replaced, and there is a budget", limits{Epochs: 2, Stands: 1, Writes: 3, Charters: 2, MaxLoss: 1}},
	{"a hold", limits{Epochs: 2, Stands: 1, Writes: 3, MaxLoss: 1, Holds: 2}},
	{"in a hold", limits{Epochs: 2, Stands: 1, Writes: 4, MaxLoss: 1, Holds: 3, Held: true}},
	{"in a hold, and a leader changes",
		limits{Epochs: 2, Changes: 1, Stands: 1, Writes: 3, MaxLoss: 1, Holds: 3, Held: true}},
	{"in a hold, and the witness restarts",
		limits{Epochs: 2, Restarts: 1, Stands: 1, Writes: 3, MaxLoss: 1, Holds: 2, Held: true}},
	{"when a hold is over", limits{Epochs: 3, Restarts: 2, Stands: 2, Writes: 3, MaxLoss: 1, Holds: 2, Ended: true}},
	{"in a hold, and both stand",
		limits{Epochs: 3, Changes: 1, Stands: 2, MaxLoss: anyLoss, Holds: 2, Held: true}},
	{"in a hold, and clocks are behind",
		limits{Epochs: 2, Changes: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Holds: 1, Held: true, Behind: true}},
	{"in a hold, clocks are behind, and leaders change",
		limits{Epochs: 3, Changes: 3, Restarts: 2, Stands: 2, MaxLoss: anyLoss, Holds: 2, Held: true, Behind: true}},
	{"in a hold that nobody counts", limits{Epochs: 2, Changes: 1, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Holds: 2,
		Held: true, Plain: true}},
	{"a lease is lowered", limits{Epochs: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Lowers: 1}},
	{"a lease was lowered, and the witness restarts",
		limits{Epochs: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Lowers: 1, Lowered: true}},
	{"a lease was lowered, and a leader changes",
		limits{Epochs: 3, Changes: 1, Restarts: 1, Stands: 2, MaxLoss: anyLoss, Lowers: 2, Lowered: true}},
	{"a handoff and a new leader", limits{Epochs: 2, Changes: 1, Writes: 1, Seals: 1, Refuses: 1, MaxLoss: 2}},
	{"a sealed region goes on", limits{Epochs: 4, Stands: 2, Writes: 2, Seals: 1, Refuses: 1, MaxLoss: 2}},
	{"a region goes on that is sealed for one with votes",
		limits{Epochs: 4, Stands: 2, Writes: 3, Refuses: 1, MaxLoss: 1, Sealed: true}},
	{"a region goes on that is sealed, and leaders change",
		limits{Epochs: 4, Changes: 2, Restarts: 1, Stands: 2, Writes: 2, Refuses: 1, MaxLoss: 1, Sealed: true}},
	{"a region goes on that is sealed, and nothing may be lost",
		limits{Epochs: 4, Changes: 1, Stands: 2, Writes: 2, Refuses: 1, Sealed: true}},
	{"a region goes on that is sealed, and a voter is replaced",
		limits{Epochs: 3, Changes: 1, Stands: 2, Writes: 1, Charters: 2, MaxLoss: 1, Sealed: true}},
	{"a region goes on that is sealed, and hands over again",
		limits{Epochs: 4, Stands: 2, Writes: 2, Seals: 1, Refuses: 1, MaxLoss: 1, Sealed: true}},
	{"there and back", limits{Epochs: 4, Stands: 1, Writes: 2, Seals: 2, Refuses: 1, MaxLoss: 2, Handed: true}},
	{"there and back, and leaders change",
		limits{Epochs: 4, Changes: 2, Restarts: 1, Stands: 1, Seals: 2, Refuses: 1, MaxLoss: anyLoss, Handed: true}},
	{"there and back, and a voter is replaced",
		limits{Epochs: 4, Stands: 1, Seals: 2, Refuses: 1, Charters: 2, MaxLoss: anyLoss, Handed: true}},
	{"a voter is replaced, charters wait, and a leader changes",
		limits{Epochs: 2, Changes: 1, Stands: 1, Charters: 2, MaxLoss: anyLoss, Waits: true}},
	{"a voter is replaced, charters wait, and both stand",
		limits{Epochs: 3, Changes: 2, Restarts: 1, Stands: 2, Charters: 3, MaxLoss: anyLoss, Waits: true}},
	{"in a hold, charters wait, and a leader changes", limits{Epochs: 2, Changes: 1, Restarts: 1, Stands: 1, Writes: 3,
		MaxLoss: 1, Holds: 3, Held: true, Waits: true}},
	{"a lease was lowered, charters wait, and a leader changes",
		limits{Epochs: 3, Changes: 1, Restarts: 1, Stands: 2, MaxLoss: anyLoss, Lowers: 2, Lowered: true, Waits: true}},
	{"there and back, charters wait, and leaders change", limits{Epochs: 4, Changes: 2, Restarts: 1, Stands: 1,
		Seals: 2, Refuses: 1, Charters: 2, MaxLoss: anyLoss, Handed: true, Waits: true}},
	{"there and back, a voter is replaced, and leaders change", limits{Epochs: 4, Changes: 1, Restarts: 1, Stands: 1,
		Writes: 2, Seals: 2, Refuses: 1, Charters: 3, MaxLoss: 1, Handed: true}},
}

// TestSearch lets anything happen in any order, within bounds: renewals lost and confirmed late, leaders and witnesses
// that forget what they promised, votes that the next leader inherits, writes, handoffs. Nothing that the package
// promises is ever broken.
func TestSearch(t *testing.T) {
	for _, s := range searches {
		t.Run(s.name, func(t *testing.T) {
			most := *worlds
			began := time.Now()
			broken, trace, seen, complete := search(s.limit, "", most)
			for seed := uint64(0); seed < uint64(most/20) && broken == ""; seed++ {
				broken, trace = walk(s.limit, "", seed, 60)
			}
			if broken != "" {
				t.Fatalf("%s\n%v", broken, trace)
			}
			t.Logf("%d worlds, complete: %t, %v", seen, complete, time.Since(began).Round(time.Millisecond))
		})
	}
}
