package ballot

import (
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// unit is a tick of the search: a lease is two of them.
const (
	unit  = 3 * time.Second
	lease = 2 * unit
	// holding is how long a hold is.
	holding = 5 * unit
)

// Voters of a world: regions a and b, a witness, and another one that may be added.
const (
	a, b, w = 0, 1, 2
	most    = 4
)

var names = [most]string{"a", "b", timeline.WitnessPrefix + "w", timeline.WitnessPrefix + "x"}

// world is two regions and a witness, of which everything that happens in between is left to the search; and where
// charters change one witness more, which has a ballot and no charter. Time is real time; what clocks may differ is
// taken out by Charter.Hold, whose own test has it.
type world struct {
	now      Instant
	voters   []voter
	charters []timeline.Charter // that were written, the first one at the beginning
	stood    [8][2]uint8        // by epoch and region: by which of them it stood, a bit each
	cast     [8][most]uint8     // by epoch and voter: for whom, one more than its number; zero: for nobody
	by       [8][most]uint8     // the handoff of that vote
	begun    [8]uint8           // by epoch: who began it, one more than its number
	handed   [8]bool            // it began by a handoff
	acked    [8]timeline.Position
	spread   timeline.Position // acknowledged, and on the disks of both regions when it was
	broken   string
	left     limits
}

// limits bound what may happen in a search.
type limits struct {
	Epochs                                            timeline.Epoch
	Changes, Restarts, Writes, Stands, Seals, Refuses int
	Charters                                          int  // changes of who votes
	Holds                                             int  // ordered, and ended
	Plain                                             bool // nobody counts how much of them is over
	Behind                                            bool // the wall clock of a primary's next leader is
	Lowers                                            int  // of the lease
	Held, Ended                                       bool // one was ordered already, and is over
	Waits                                             bool // charters wait in the log
	Lowered                                           bool // it was already, and all keep that
	Handed                                            bool // a has handed over to b, and both may hand over again
	Sealed                                            bool // a is for b, which has the votes of both by that
	MaxLoss                                           uint64
	StopWrites                                        bool
	Renewals                                          int // sent; 0: as many as there is time for, -1: none any more
}

// voter is a region or witness: what is durable, and the processes that speak for it.
type voter struct {
	state  *timeline.State // never changed in place
	log    *timeline.Control
	call   uint64            // of whoever proposed it
	chart  *timeline.Control // a charter that was proposed beside it: either may be agreed on first, or neither
	before *timeline.State   // it, where that was taken as agreed on
	leader process
	former *process // was deposed, and does not know it
	next   count    // of a node that does not lead
	term   uint64
}

type process struct {
	state    *timeline.State // as far as a former leader knows it
	voter    Voter
	holder   Holder
	shared   timeline.Position
	stands   *timeline.Candidacy
	votes    [most]bool
	used     bool   // who voted knows of a later reign than all that it has, which may have taken writes
	lost     uint64 // of which so much would be
	confirms []uint64
	calls    []question
	kept     kept
}

// question is where an answer goes to.
type question struct {
	call     uint64
	from     int
	former   bool
	renewal  uint64 // the call of the holder; zero: it is a vote
	epoch    timeline.Epoch
	deadline Instant
}

func newWorld(l limits) *world {
	n := &world{left: l}
	reign := timeline.Reign{Epoch: 1, First: 1, Primary: "a"}
	charter := timeline.Charter{
		Epoch: 1, Number: 1, Lease: lease, MaxLoss: l.MaxLoss, StopWrites: l.StopWrites, Automatic: true,
		Voters: []timeline.Voter{
			{ID: "a", Priority: 1}, {ID: "b", Priority: 1}, {ID: names[w], Addrs: []string{"here"}},
		},
	}
	n.charters = []timeline.Charter{charter}
	for i := range charter.Voters {
		s := &timeline.State{Region: names[i], Ballot: &timeline.Ballot{Charter: charter, Promised: 1, For: "a"}}
		if !witness(i) {
			s.Reigns, s.Cursor = []timeline.Reign{reign}, timeline.Cursor{Epoch: 1}
		}
		n.voters = append(n.voters, voter{state: s, term: 1, leader: newProcess(i, 1, -lease, s)})
		n.cast[1][i] = a + 1
	}
	if l.Charters > 0 {
		i := len(n.voters)
		s := &timeline.State{Region: names[i], Ballot: &timeline.Ballot{}}
		n.voters = append(n.voters, voter{state: s, term: 1, leader: newProcess(i, 1, -lease, s)})
	}
	return n
}

// witness reports whether a voter has no data, and no log.
func witness(i int) bool { return i >= w }

func newProcess(i int, term uint64, since Instant, s *timeline.State) process {
	p := process{voter: *NewVoter(names[i]), holder: *NewHolder(names[i])}
	p.voter.Step(since, s, Leads{Term: term})
	return p
}

func (p *process) clone() process {
	c := *p
	c.voter.requests, c.voter.out = slices.Clone(p.voter.requests), nil
	c.holder.voters, c.holder.out = slices.Clone(p.holder.voters), nil
	c.confirms, c.calls = slices.Clone(p.confirms), slices.Clone(p.calls)
	return c
}

func (n *world) clone() *world {
	c := *n
	c.voters = slices.Clone(n.voters)
	for i := range c.voters {
		v := &c.voters[i]
		v.leader = n.voters[i].leader.clone()
		if f := n.voters[i].former; f != nil {
			former := f.clone()
			v.former = &former
		}
	}
	return &c
}

func (p *process) question(call uint64) question {
	for _, q := range p.calls {
		if q.call == call {
			return q
		}
	}
	return question{}
}

func (p *process) drop(call uint64) {
	p.calls = slices.DeleteFunc(p.calls, func(q question) bool { return q.call == call })
}

// process returns the leader of a voter, or the former one, and the state that it sees.
func (n *world) process(i int, former bool) (*process, *timeline.State) {
	if former {
		return n.voters[i].former, n.voters[i].former.state
	}
	return &n.voters[i].leader, n.voters[i].state
}

// apply changes what is durable at a voter by the rules.
func (n *world) apply(i int, c *timeline.Control) (timeline.Outcome, string) {
	m := timeline.NewMachine(n.voters[i].state)
	outcome, why, err := m.Control(c)
	if err != nil {
		panic(err)
	}
	s := m.State()
	n.voters[i].state = &s
	if b := s.Ballot; outcome == timeline.Applied && (c.Op == timeline.OpVote || c.Op == timeline.OpSeal) {
		n.cast[b.Promised][i] = uint8(slices.Index(names[:], b.For)) + 1
		n.by[b.Promised][i] = uint8(b.Handoff)
	}
	if c.Op == timeline.OpUnseal && outcome == timeline.Applied {
		n.cast[c.Epoch+1][i] = 0
	}
	return outcome, why
}

// winner returns for whom a majority of a charter by which it stood voted, not by a handoff, or who began although it
// did not; -1: nobody. After a handoff, who was sealed may go on to acknowledge what the next one has.
func (n *world) winner(e int) int {
	if n.begun[e] != 0 && !n.handed[e] {
		return int(n.begun[e]) - 1
	}
	for x := range 2 {
		for k := range n.charters {
			c := &n.charters[k]
			if n.stood[e][x]&(1<<k) != 0 && n.count(c, func(i int) bool {
				return n.cast[e][i] == uint8(x)+1 && n.by[e][i] == 0
			}) >= c.Majority() {
				return x
			}
		}
	}
	return -1
}

// count returns how many voters of a charter are so.
func (n *world) count(c *timeline.Charter, so func(i int) bool) (votes int) {
	for i := range n.voters {
		if c.Voter(names[i]) != nil && so(i) {
			votes++
		}
	}
	return votes
}

// charter returns which of the charters that were written has this mark.
func (n *world) charter(m timeline.Mark) int {
	return slices.IndexFunc(n.charters, func(c timeline.Charter) bool { return c.Mark() == m })
}

// tell gives an input to a process that speaks for voter i, and does what it wants.
func (n *world) tell(i int, former bool, in Input, bug string) {
	p, s := n.process(i, former)
	effects := p.voter.Step(n.now, s, in)
	if bug == forgetsOthers {
		p.voter.others = 0
	}
	for _, e := range effects {
		switch e.Do {
		case Confirm:
			if witness(i) { // nobody can have taken its place
				n.tell(i, former, Confirmed{e.Call, true}, bug)
				continue
			}
			p.confirms = append(p.confirms, e.Call)
		case Record:
			n.record(i, former, e, bug)
		case Reply:
			if bug == "the holder of a hold counts what it asked for" {
				e.Answer.Hold = holding
			}
			n.answer(i, former, e)
		}
	}
}

func (n *world) record(i int, former bool, e Effect, bug string) {
	early := bug == "a vote is answered before it is agreed on" && e.Control.Op == timeline.OpVote
	switch {
	case bug == "a ceiling is answered and not kept" && e.Control.Op == timeline.OpCeiling:
		n.answer(i, former, Effect{Call: e.Call, Answer: Answer{Granted: true, Promised: 1}})
		p, _ := n.process(i, former)
		p.voter.take(e.Call)
	case former: // its log takes nothing
	case witness(i):
		outcome, why := n.apply(i, e.Control)
		n.tell(i, false, Recorded{Call: e.Call, Outcome: outcome, Why: why}, bug)
	case n.voters[i].log == nil:
		v := &n.voters[i]
		v.log, v.call = e.Control, e.Call
		if early {
			n.answer(i, former, Effect{Call: e.Call, Answer: Answer{Granted: true, Promised: 1}})
		}
	default: // lost; whoever asked asks again
		p, _ := n.process(i, former)
		p.voter.noting = p.voter.noting && e.Call != noCall
		p.voter.take(e.Call)
		if p.voter.voting == e.Call {
			p.voter.voting = 0
		}
		p.drop(e.Call)
	}
}

// answer brings a reply to whoever asked, at once: what is late counts for less.
func (n *world) answer(i int, former bool, e Effect) {
	p, _ := n.process(i, former)
	q := p.question(e.Call)
	if q.call == 0 {
		return
	}
	p.drop(e.Call)
	asker := &n.voters[q.from].leader
	if q.former {
		asker = n.voters[q.from].former
	}
	switch {
	case asker == nil:
	case q.renewal != 0:
		_, s := n.process(q.from, q.former)
		view := n.view(q.from, q.former, s)
		asker.holder.Step(n.now, view, Renewed{Call: q.renewal, Voter: names[i], Answer: e.Answer})
	case asker.stands != nil && asker.stands.Epoch == q.epoch && e.Answer.Granted:
		asker.votes[i] = true
		m := timeline.Mandate{Used: asker.used, Lost: asker.lost}.Counted(asker.stands, &e.Answer.Known)
		asker.used, asker.lost = m.Used, m.Lost
	}
}

func (n *world) view(i int, former bool, s *timeline.State) HolderView {
	p, _ := n.process(i, former)
	term := n.voters[i].term
	if former {
		term--
	}
	// Nothing that a step sends by itself is wanted: the search sends.
	return HolderView{
		Term: term, State: s, Reached: s.Cursor.Position, Shared: p.shared, Stalled: true, Wall: n.wall(),
		Ending: !former && n.voters[i].ending(),
	}
}

// wall is the wall time: everybody's is right, as nothing but how long a hold lasts goes by it, or behind.
func (n *world) wall() time.Time {
	if n.left.Behind {
		return time.Unix(0, 0)
	}
	return time.Unix(0, 0).Add(n.now)
}

// check looks for what must never be.
func (n *world) check() {
	n.noteKept()
	n.checkSupport()
	for e := 1; e < len(n.cast); e++ {
		for f := e + 1; f < len(n.cast); f++ {
			x := n.winner(f)
			if x < 0 {
				continue
			}
			for i := range 2 {
				for _, former := range []bool{false, true} {
					if former && n.voters[i].former == nil || x == i {
						continue
					}
					p, s := n.process(i, former)
					if s.Seal != nil || s.Role() != timeline.Primary {
						continue // it has no use for its lease, unless it goes on, and another one then
					}
					if v := p.holder.Evidence(); v.Epoch == timeline.Epoch(e) && n.now < v.Until {
						n.broken = fmt.Sprintf("B2: %s holds a lease for epoch %d, and %s was voted into epoch %d",
							names[i], e, names[x], f)
					}
				}
			}
		}
	}
}
