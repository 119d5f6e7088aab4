package ballot

import (
	"fmt"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// kept is since when all voters keep a charter, as the leader of a region knows.
type kept struct {
	mark  timeline.Mark
	since Instant
}

// lowers has region i, if it is primary and has a lease, lower the lease to half: first by a charter that says what it
// was, and by one that does not once no promise by the former one is left.
func (n *world) lowers(i int, bug string, add func(string, func(*world))) {
	v := &n.voters[i]
	s := v.state
	evidence, c := v.leader.holder.Evidence(), s.Charter()
	if v.log != nil || v.chart != nil || !s.Writable() || evidence.Epoch != s.Cursor.Epoch || n.now >= evidence.Until {
		return
	}
	next := c.Next(s.Cursor.Epoch, timeline.Latest(s.Reigns).First-1)
	if n.left.Lowers > 0 && c.Lease > unit {
		add(fmt.Sprint(names[i], " lowers the lease"), func(n *world) {
			n.left.Lowers--
			next.Lease, next.Former = unit, c.Promise()
			if bug == "a lease is lowered in one step" {
				next.Former = 0
			}
			n.write(i, *next, bug)
		})
	}
	if k := v.leader.kept; c.Former != 0 && c.Epoch == s.Cursor.Epoch && k.mark == c.Mark() &&
		(n.now-k.since >= c.Outlasts() || bug == "the former lease is not waited for") {
		add(fmt.Sprint(names[i], " forgets the former lease"), func(n *world) {
			next.Former = 0
			n.write(i, *next, bug)
		})
	}
}

func (n *world) playLowered(bug string) {
	n.play(bug, "a renews at witness/w, former false false", "a renews at a, former false false",
		"a confirms, former false", "a agrees on ceiling", "a lowers the lease",
		"a renews at witness/w, former false false", "a renews at b, former false false", "b confirms, former false",
		"b agrees on charter", "b agrees on ceiling", "a renews at a, former false false", "a confirms, former false")
	n.noteKept()
}

// noteKept notes since when the charters of regions are kept by all.
func (n *world) noteKept() {
	for i := range w {
		p := &n.voters[i].leader
		switch m := n.voters[i].state.Charter().Mark(); {
		case !p.holder.Kept(m):
			p.kept = kept{}
		case p.kept.mark != m:
			p.kept = kept{m, n.now}
		}
	}
}
