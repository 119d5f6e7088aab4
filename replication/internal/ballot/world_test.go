package ballot

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// unit is a tick of the search: a lease is two of them.
const (
	unit  = 3 * time.Second
	lease = 2 * unit
)

// Voters of a world: regions a and b, and a witness.
const (
	a, b, w = 0, 1, 2
)

var names = [3]string{"a", "b", timeline.WitnessPrefix + "w"}

// world is two regions and a witness, of which everything that happens in between is left to the search. Time is real
// time; what clocks may differ is taken out by Charter.Hold, whose own test has it.
type world struct {
	now    Instant
	voters [3]voter
	cast   [8][3]uint8 // by epoch and voter: for whom, one more than its number; zero: for nobody
	by     [8][3]uint8 // the handoff of that vote
	begun  [8]uint8    // by epoch: who began it, one more than its number
	handed [8]bool     // it began by a handoff
	acked  [8]timeline.Position
	spread timeline.Position // acknowledged, and on the disks of both regions when it was
	broken string
	left   limits
}

// limits bound what may happen in a search.
type limits struct {
	Epochs                                            timeline.Epoch
	Changes, Restarts, Writes, Stands, Seals, Refuses int
	MaxLoss                                           uint64
	StopWrites                                        bool
}

// voter is a region or witness: what is durable, and the processes that speak for it.
type voter struct {
	state  *timeline.State // never changed in place
	log    *timeline.Control
	call   uint64 // of whoever proposed it
	leader process
	former *process // was deposed, and does not know it
	term   uint64
}

type process struct {
	state    *timeline.State // as far as a former leader knows it
	voter    Voter
	holder   Holder
	shared   timeline.Position
	stands   *timeline.Candidacy
	votes    [3]bool
	confirms []uint64
	calls    []question
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
		Voters: []timeline.Voter{{ID: "a", Priority: 1}, {ID: "b", Priority: 1}, {ID: names[w]}},
	}
	for i := range n.voters {
		s := &timeline.State{Region: names[i], Ballot: &timeline.Ballot{Charter: charter, Promised: 1, For: "a"}}
		if i != w {
			s.Reigns, s.Cursor = []timeline.Reign{reign}, timeline.Cursor{Epoch: 1}
		}
		n.voters[i] = voter{state: s, term: 1, leader: newProcess(i, 1, -lease, s)}
		n.cast[1][i] = a + 1
	}
	return n
}

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

// winner returns for whom a majority voted, not by a handoff, or who began although it did not; -1: nobody. After a
// handoff, who was sealed may go on to acknowledge what the next one has.
func (n *world) winner(e int) int {
	if n.begun[e] != 0 && !n.handed[e] {
		return int(n.begun[e]) - 1
	}
	for x := range 2 {
		votes := 0
		for i, f := range n.cast[e] {
			if f == uint8(x)+1 && n.by[e][i] == 0 {
				votes++
			}
		}
		if votes >= 2 {
			return x
		}
	}
	return -1
}

// tell gives an input to a process that speaks for voter i, and does what it wants.
func (n *world) tell(i int, former bool, in Input, bug string) {
	p, s := n.process(i, former)
	for _, e := range p.voter.Step(n.now, s, in) {
		switch e.Do {
		case Confirm:
			if i == w { // nobody can have taken its place
				n.tell(i, former, Confirmed{e.Call, true}, bug)
				continue
			}
			p.confirms = append(p.confirms, e.Call)
		case Record:
			n.record(i, former, e, bug)
		case Reply:
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
	case i == w:
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
	}
}

func (n *world) view(i int, former bool, s *timeline.State) HolderView {
	p, _ := n.process(i, former)
	term := n.voters[i].term
	if former {
		term--
	}
	// Nothing that a step sends by itself is wanted: the search sends.
	return HolderView{Term: term, State: s, Reached: s.Cursor.Position, Shared: p.shared, Stalled: true}
}

// check looks for what must never be.
func (n *world) check() {
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
					p, _ := n.process(i, former)
					if v := p.holder.Evidence(); v.Epoch == timeline.Epoch(e) && n.now < v.Until {
						n.broken = fmt.Sprintf("B2: %s holds a lease for epoch %d, and %s was voted into epoch %d",
							names[i], e, names[x], f)
					}
				}
			}
		}
	}
}

// key is the same for worlds that differ in nothing that can matter.
func (n *world) key(buf []byte) []byte {
	for i := range n.voters {
		v := &n.voters[i]
		buf = n.keyOfState(buf, v.state)
		buf = append(buf, byte(v.term), byte(len(v.leader.confirms)))
		if v.log != nil {
			buf = append(buf, v.log.Op[0], byte(v.call))
			if v.log.Vote != nil {
				buf = append(buf, byte(v.log.Vote.Epoch), v.log.Vote.For[0])
			} else {
				buf = append(buf, byte(v.log.Epoch), byte(v.log.Known.Ceiling))
			}
		}
		buf = n.keyOfProcess(append(buf, '/'), &v.leader)
		if v.former != nil {
			buf = n.keyOfProcess(n.keyOfState(append(buf, '<'), v.former.state), v.former)
		}
		buf = append(buf, '|')
	}
	for e := range n.cast {
		buf = append(buf, n.cast[e][0], n.cast[e][1], n.cast[e][2], n.by[e][0]|n.by[e][1]<<2|n.by[e][2]<<4,
			n.begun[e], byte(n.acked[e]))
	}
	l := n.left
	return append(buf, byte(n.spread), byte(l.Changes), byte(l.Restarts), byte(l.Writes), byte(l.Stands), byte(l.Seals),
		byte(l.Refuses))
}

func (n *world) keyOfState(buf []byte, s *timeline.State) []byte {
	b := s.Ballot
	buf = append(buf, byte(b.Promised), b.For[0], byte(b.Handoff), byte(b.Known.Epoch()), byte(b.Known.Ceiling),
		byte(s.Cursor.Epoch), byte(s.Cursor.Position), byte(s.Refused.Handoff), byte(len(s.Reigns)))
	for _, r := range s.Reigns {
		buf = append(buf, byte(r.First), r.Primary[0])
	}
	if s.Seal != nil {
		buf = append(buf, 's')
	}
	return buf
}

func (n *world) ahead(i Instant) byte { return byte(max(i-n.now, 0) / unit) }

func (n *world) keyOfProcess(buf []byte, p *process) []byte {
	v := &p.voter
	buf = append(buf, n.ahead(v.until), n.ahead(v.others), byte(v.epoch), n.ahead(v.since+lease), byte(v.voting),
		byte(p.shared), byte(p.holder.floor))
	for _, r := range v.requests {
		buf = append(buf, byte(r.call), n.ahead(r.at+lease))
		if q := p.question(r.call); q.call != 0 {
			buf = append(buf, byte(q.from), byte(q.epoch))
		}
	}
	buf = append(buf, '.')
	for _, id := range names {
		if s := p.holder.support(id); s != nil {
			buf = append(buf, n.ahead(s.Until), byte(s.Ceiling), byte(s.asks), n.ahead(s.sent+lease))
		}
		buf = append(buf, ',')
	}
	if p.stands != nil {
		buf = append(buf, byte(p.stands.Epoch), byte(p.stands.Handoff), byte(p.stands.Cursor.Position))
		for _, yes := range p.votes {
			if yes {
				buf = append(buf, 'y')
			}
			buf = append(buf, '-')
		}
	}
	return binary.LittleEndian.AppendUint16(buf, uint16(len(p.confirms)))
}
