package ballot

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// walk goes at random from world to world, until one is broken.
func walk(l limits, bug string, seed uint64, steps int) (broken string, trace []string) {
	r := rand.New(rand.NewPCG(seed, 1))
	n := begin(l, bug)
	for range steps {
		next := n.next(bug)
		step := next[0] // time goes on
		if r.IntN(6) > 0 && len(next) > 1 {
			step = next[1+r.IntN(len(next)-1)]
		}
		before := n.clone()
		step.do(n)
		if bug == "the holder counts from the answer" {
			n.fromReceipt(before)
		}
		n.plantHold(bug)
		trace = append(trace, step.act)
		if n.check(); n.broken != "" {
			return n.broken, trace
		}
	}
	return "", nil
}

// any number of commands may be lost.
const anyLoss = timeline.NoBound

// planted are mistakes that have to be found, each with the limits under which that is quick, and what is broken.
var planted = []struct {
	bug, breaks string
	from        uint64 // the walk that finds it, as of today; if it does not any more, further ones are tried
	limit       limits
}{
	{"a new leader waits for nothing", "B2", 4326, limits{Epochs: 2, Changes: 1, Stands: 1, MaxLoss: anyLoss}},
	{"a witness that starts waits for nothing", "B2", 106,
		limits{Epochs: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss}},
	{"a former leader is not confirmed anew", "B2", 1597, limits{Epochs: 2, Changes: 1, Stands: 1, MaxLoss: anyLoss}},
	{"a vote is given before the promise is over", "B2", 3, limits{Epochs: 2, Stands: 1, MaxLoss: anyLoss}},
	{"a promise is given while a vote is on its way", "B2", 258, limits{Epochs: 2, Stands: 1, MaxLoss: anyLoss}},
	{"the holder counts from the answer", "B2", 464, limits{Epochs: 2, Stands: 1, MaxLoss: anyLoss}},
	{"a vote is answered before it is agreed on", "B", 10261, limits{Epochs: 3, Changes: 2, Stands: 2,
		MaxLoss: anyLoss}},
	{"a ceiling is answered and not kept", "B3", 9, limits{Epochs: 2, Stands: 1, Writes: 3, MaxLoss: 1}},
	{"a vote is forgotten", "B", 502, limits{Epochs: 2, Stands: 2, MaxLoss: anyLoss}},
	{lossUnseen, "B3", 47, limits{Epochs: 2, Stands: 1, Writes: 3, MaxLoss: 1}},
	{"a charter is changed before the one before is kept", "B2", 136, limits{Epochs: 2, Stands: 1, Charters: 3,
		MaxLoss: anyLoss}},
	{"an older charter is as good", "B2", 365, limits{Epochs: 2, Stands: 1, Charters: 2, MaxLoss: anyLoss}},
	{"who starts anew waits for a lease in a hold", "B2", 106,
		limits{Epochs: 2, Restarts: 1, Stands: 1, Holds: 1, Held: true, MaxLoss: anyLoss}},
	{"promises of a hold count without the own voter's", "B2", 252,
		limits{Epochs: 2, Changes: 1, Stands: 1, Holds: 2, Held: true, MaxLoss: anyLoss}},
	{"nobody says up to where was acknowledged in a hold", "B3", 352,
		limits{Epochs: 2, Stands: 1, Restarts: 1, Writes: 2, Holds: 2, Ended: true, MaxLoss: 1}},
	{"a lease is lowered in one step", "B2", 43,
		limits{Epochs: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Lowers: 1, Lowered: true}},
	{"the former lease is not waited for", "B2", 1688,
		limits{Epochs: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Lowers: 1, Lowered: true}},
	{"a seal is lifted without a refusal", "B", 4, limits{Epochs: 2, Writes: 2, Seals: 1, MaxLoss: 2}},
	{sealedAnyhow, "B10", 660, limits{Epochs: 3, Seals: 1, MaxLoss: anyLoss, Handed: true}},
	{sealUnasked, "B10", 660, limits{Epochs: 3, Seals: 1, MaxLoss: anyLoss, Handed: true}},
	{guardByProcess, "B2", 4326, limits{Epochs: 2, Changes: 1, Stands: 1, MaxLoss: anyLoss}},
	{voteForgotten, "B", 2526, limits{Epochs: 3, Changes: 1, Stands: 2, Charters: 2, MaxLoss: anyLoss, Waits: true}},
	{countedEarly, "B", 749, limits{Epochs: 2, Changes: 1, Stands: 1, Charters: 3, MaxLoss: anyLoss, Waits: true}},
	{proposedUnder, "B2", 49, limits{Epochs: 2, Stands: 1, Writes: 1, MaxLoss: anyLoss}},
	{formerTells, "B2", 21, limits{Epochs: 2, Changes: 1, Stands: 1, Writes: 1, MaxLoss: anyLoss}},
	{sealStays, "B2", 0, limits{Epochs: 3, Stands: 1, MaxLoss: anyLoss, Sealed: true}},
	{sealedEarly, "B2", 1506, limits{Epochs: 3, Stands: 1, MaxLoss: anyLoss, Sealed: true}},
	{saysNothing, "B6", 34, limits{Epochs: 3, Stands: 1, Writes: 1, MaxLoss: anyLoss, Sealed: true}},
	{goesBlind, "B3", 32, limits{Epochs: 3, Stands: 1, Writes: 3, MaxLoss: 1, Sealed: true}},
	{clockStands, "B2", 4, limits{Epochs: 2, Stands: 1, MaxLoss: anyLoss}},
}

// TestPlantedMistakesAreFound: a search that finds nothing has to be able to.
func TestPlantedMistakesAreFound(t *testing.T) {
	for _, p := range planted {
		t.Run(p.bug, func(t *testing.T) {
			began := time.Now()
			for seed := p.from; time.Since(began) < time.Minute; seed++ {
				if broken, trace := walk(p.limit, p.bug, seed, 60); broken != "" {
					if what, _, _ := strings.Cut(broken, ":"); p.breaks != what && p.breaks != "B" {
						t.Fatalf("%s\n%s", broken, strings.Join(trace, "\n"))
					}
					t.Logf("walk %d: %s\n%s", seed, broken, strings.Join(trace, "\n"))
					return
				}
			}
			t.Error("nothing noticed it")
		})
	}
}

// fromReceipt has every promise that was just given count from now.
func (n *world) fromReceipt(before *world) {
	for i := range 2 {
		for k := range n.voters[i].leader.holder.voters {
			s := &n.voters[i].leader.holder.voters[k]
			if o := before.voters[i].leader.holder.support(s.Voter); o != nil && s.Until > o.Until {
				s.Until, s.Lease = n.now+lease, n.now+lease
			}
		}
	}
}
