package ballot

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// step is one way on from a world.
type step struct {
	act string
	do  func(n *world)
}

// next returns everything that can happen in n, with a mistake planted.
func (n *world) next(bug string) []step {
	steps := make([]step, 0, 32)
	steps = append(steps, step{"tick", func(n *world) { n.tick(bug) }})
	add := func(act string, do func(n *world)) { steps = append(steps, step{act, do}) }
	for i := range n.voters {
		for _, former := range []bool{false, true} {
			if former && n.voters[i].former == nil {
				continue
			}
			if !witness(i) {
				n.renewals(i, former, bug, add)
			}
			p, _ := n.process(i, former)
			if len(p.confirms) > 0 && (!former || bug == "a former leader is not confirmed anew") {
				add(fmt.Sprint(names[i], " confirms, former ", former), func(n *world) {
					p, _ := n.process(i, former)
					call := p.confirms[0]
					p.confirms = p.confirms[1:]
					n.tell(i, former, Confirmed{call, true}, bug)
				})
			}
		}
		if !witness(i) {
			n.stands(i, bug, add)
			n.history(i, bug, add)
			n.charts(i, bug, add)
			n.holds(i, bug, add)
			n.lowers(i, bug, add)
		}
		n.changes(i, bug, add)
	}
	return steps
}

func (n *world) tick(bug string) {
	n.now += unit
	for k := range n.voters[a].leader.holder.voters {
		if s := &n.voters[a].leader.holder.voters[k]; bug == clockStands && s.Until > 0 {
			s.Until, s.Lease = s.Until+unit, s.Lease+unit
		}
	}
	for i := range n.voters {
		n.forget(&n.voters[i].leader)
		if f := n.voters[i].former; f != nil {
			n.forget(f)
		}
	}
}

// forget drops questions whose answer nobody waits for any more.
func (n *world) forget(p *process) {
	p.calls = slices.DeleteFunc(p.calls, func(q question) bool {
		if q.deadline > n.now || p.voter.voting == q.call {
			return false
		}
		if k := slices.Index(p.confirms, q.call); k >= 0 {
			p.confirms = slices.Delete(p.confirms, k, k+1)
			p.voter.take(q.call)
		}
		return true
	})
}

// renewals has the holder of region i ask any of the voters.
func (n *world) renewals(i int, former bool, bug string, add func(string, func(*world))) {
	if n.left.Renewals < 0 {
		return
	}
	p, s := n.process(i, former)
	view := n.view(i, former, s)
	view.Stalled = false
	probe := p.clone()
	effects := probe.holder.Step(n.now, view, nil)
	if len(effects) == 0 {
		return
	}
	for k, e := range effects {
		to := slices.Index(names[:], e.Voter)
		for _, stale := range []bool{false, true} { // a former leader of the voter may be asked
			if stale && (n.voters[to].former == nil || witness(to)) {
				continue
			}
			add(fmt.Sprint(names[i], " renews at ", e.Voter, ", former ", former, stale), func(n *world) {
				if n.left.Renewals == 1 {
					n.left.Renewals = -1
				} else if n.left.Renewals > 1 {
					n.left.Renewals--
				}
				p, s := n.process(i, former)
				view := n.view(i, former, s)
				view.Stalled = false
				before := p.holder.Supports()
				e := p.holder.Step(n.now, view, nil)[k]
				// Only this question is sent now; the others when the search wants it.
				asked := *p.holder.support(e.Voter)
				p.holder.voters = before
				if known := p.holder.support(e.Voter); known != nil {
					*known = asked
				} else {
					p.holder.voters = append(p.holder.voters, asked)
				}
				q := question{from: i, former: former, renewal: e.Call}
				n.ask(to, stale, bug, q, RenewalAsked{Renewal: e.Renewal})
			})
		}
	}
}

// ask brings a question to a process of a voter.
func (n *world) ask(to int, stale bool, bug string, q question, in Input) {
	p, _ := n.process(to, stale)
	q.deadline = n.now + lease
	call := uint64(1)
	for ; p.has(call); call++ {
	}
	q.call = call
	p.calls = append(p.calls, q)
	if len(p.confirms) > 0 { // one at a time is enough
		p.drop(call)
		return
	}
	switch in := in.(type) {
	case RenewalAsked:
		if bug == "a promise is given while a vote is on its way" {
			p.voter.voting = 0
		}
		n.plantSupport(to, in.Renewal, bug)
		if r := *in.Renewal; bug == "a voter promises as much of a hold as it is asked for" && r.Charter.Hold != nil &&
			r.Charter.Hold.Same(n.voters[to].state.Charter().Hold) {
			h := *r.Charter.Hold
			h.Counted, r.Charter.Hold, in.Renewal = false, &h, &r
		}
		in.Call = call
		n.tell(to, stale, in, bug)
	case VoteAsked:
		n.plantVote(to, p, in.Candidacy, bug)
		in.Call = call
		n.tell(to, stale, in, bug)
	}
}

func (p *process) has(call uint64) bool {
	return p.question(call).call != 0 ||
		slices.ContainsFunc(p.voter.requests, func(r request) bool { return r.call == call })
}

// stands has region i ask for votes, and begin when it has a majority.
func (n *world) stands(i int, bug string, add func(string, func(*world))) {
	v := &n.voters[i]
	s := v.state
	epoch := s.Ballot.Promised + 1
	own := v.log != nil && v.log.Vote != nil && v.log.Vote.For == names[i] // it waits for that one first
	if v.leader.stands == nil && n.left.Stands > 0 && epoch <= n.left.Epochs && !own {
		add(fmt.Sprint(names[i], " stands for epoch ", epoch), func(n *world) {
			n.left.Stands--
			c := Of(n.voters[i].state, epoch)
			if bug == goesBlind && c.Operator {
				c.Accept = timeline.NoBound
			}
			n.stand(i, c)
		})
		n.standsUnder(i, epoch, add)
	}
	from := n.voters[1-i].state
	if h := from.Seal; v.leader.stands == nil && h != nil && h.To == names[i] && s.Cursor == from.Cursor &&
		h.Epoch+1 > s.Ballot.Promised {
		add(fmt.Sprint(names[i], " stands by handoff ", h.Handoff), func(n *world) {
			c := Of(n.voters[i].state, h.Epoch+1)
			c.Handoff = h.Handoff
			n.stand(i, c)
		})
	}
	c := v.leader.stands
	if c == nil {
		return
	}
	for to := range n.voters {
		if v.leader.votes[to] || to != i && !v.leader.votes[i] || n.voters[to].leader.voter.voting != 0 ||
			c.Charter.Voter(names[to]) == nil {
			continue
		}
		add(fmt.Sprint(names[i], " asks ", names[to], " to vote in epoch ", c.Epoch), func(n *world) {
			c := *n.voters[i].leader.stands
			if bug == lossUnseen {
				c.Operator, c.Accept = true, timeline.NoBound
			}
			if own := n.voters[to].state.Ballot.Charter; bug == "an older charter is as good" &&
				c.Charter.Mark().Before(own.Mark()) {
				c.Charter = own
			}
			n.ask(to, false, bug, question{from: i, epoch: c.Epoch}, VoteAsked{Candidacy: &c})
		})
	}
	within := Within(timeline.Mandate{Lost: v.leader.lost}, c.Charter.MaxLoss) == "" || bug == lossUnseen ||
		bug == goesBlind
	if within && v.leader.votes[i] && s.Ballot.Voted(c) && n.votes(i)+n.unasked(i, c, bug) >= c.Charter.Majority() {
		add(fmt.Sprint(names[i], " begins epoch ", c.Epoch), func(n *world) { n.begin(i, c, bug) })
	}
	if n.left.Stands > 0 {
		add(fmt.Sprint(names[i], " gives up"), func(n *world) {
			n.voters[i].leader.stands, n.voters[i].leader.votes = nil, [most]bool{}
		})
	}
}

// stand has region i stand as c.
func (n *world) stand(i int, c *timeline.Candidacy) {
	if !c.Charter.Automatic { // nothing moves by itself where two vote
		c.Operator = true
	}
	n.voters[i].leader.stands, n.voters[i].leader.used, n.voters[i].leader.lost = c, false, 0
	n.stood[c.Epoch][i] |= 1 << n.charter(c.Charter.Mark())
}

func (n *world) votes(i int) (count int) {
	for _, yes := range n.voters[i].leader.votes {
		if yes {
			count++
		}
	}
	return count
}

func (n *world) begin(i int, c *timeline.Candidacy, bug string) {
	v := &n.voters[i]
	m := timeline.NewMachine(v.state)
	r := timeline.Reign{
		Epoch: c.Epoch, First: v.state.Cursor.Position + 1, Primary: names[i], Handoff: c.Handoff,
		Previous: v.state.Cursor.Chain,
	}
	lossless := c.Handoff != 0 || v.state.Role() == timeline.Primary && (!v.leader.used || bug == saysNothing)
	n.voters[i].leader.stands, n.voters[i].leader.votes = nil, [most]bool{}
	if outcome, _, err := m.Reign(r); err != nil || outcome != timeline.Applied {
		return
	}
	s := m.State()
	v.state, v.leader.shared = &s, 0
	if other := n.begun[c.Epoch]; other != 0 {
		n.broken = fmt.Sprintf("B1: epoch %d is begun twice", c.Epoch)
	}
	n.begun[c.Epoch], n.handed[c.Epoch] = uint8(i)+1, c.Handoff != 0
	budget := timeline.Position(n.left.MaxLoss)
	if c.Handoff != 0 {
		budget = 0
	}
	if n.left.MaxLoss == timeline.NoBound && c.Handoff == 0 {
		budget = 100
	}
	for e := range c.Epoch {
		if n.acked[e] > r.First-1+budget {
			n.broken = fmt.Sprintf("B3: epoch %d of %s begins at %d, and %d of epoch %d was acknowledged", c.Epoch,
				names[i], r.First, n.acked[e], e)
		}
	}
	n.goesOn(c, r, lossless)
	if n.spread >= r.First {
		n.broken = fmt.Sprintf("B3: epoch %d of %s begins at %d, and %d was acknowledged by both regions", c.Epoch,
			names[i], r.First, n.spread)
	}
}

// history has region i write, follow, and hand over.
func (n *world) history(i int, bug string, add func(string, func(*world))) {
	v, other := &n.voters[i], &n.voters[1-i]
	s := v.state
	evidence := v.leader.holder.Evidence()
	if at := s.Cursor.Position + 1; n.left.Writes > 0 && s.Writable() && evidence.Epoch == s.Cursor.Epoch &&
		(n.now < evidence.Until || bug == proposedUnder && evidence.Until > 0) && at <= evidence.Ceiling {
		add(fmt.Sprint(names[i], " acknowledges ", at), func(n *world) {
			n.left.Writes--
			next := n.voters[i].state.Clone()
			next.Cursor.Position++
			n.voters[i].state = next
			if n.left.MaxLoss > 0 { // else when the other region has it
				n.acked[next.Cursor.Epoch] = at
			}
			n.alone(i, next.Cursor.Epoch)
		})
	}
	o := other.state
	relation, _ := timeline.Compare(s.Reigns, o.Reigns, s.Cursor.Position, o.Cursor.Position)
	if s.Cursor != o.Cursor && relation == timeline.Prefix && o.Role() == timeline.Primary &&
		o.Cursor.Epoch >= s.Ballot.Promised && s.Role() != timeline.Primary && v.log == nil && v.leader.stands == nil {
		add(fmt.Sprint(names[i], " follows"), func(n *world) { n.follow(i) })
	}
	n.hands(i, bug, add)
	n.tells(i, bug, add)
}

// changes has another process speak for a voter, and its log go on.
func (n *world) changes(i int, bug string, add func(string, func(*world))) {
	v := &n.voters[i]
	commit := func(n *world) {
		v := &n.voters[i]
		c, call := v.log, v.call
		v.log = nil
		outcome, why := n.apply(i, c)
		n.tell(i, false, Recorded{Call: call, Outcome: outcome, Why: why}, bug)
		if bug == "a vote is forgotten" && c.Op == timeline.OpVote && c.Vote.For != names[i] {
			next, ballot := n.voters[i].state.Clone(), *n.voters[i].state.Ballot
			ballot.Promised--
			next.Ballot, n.voters[i].state = &ballot, next
		}
	}
	if v.log != nil {
		add(fmt.Sprint(names[i], " agrees on ", v.log.Op), commit)
	}
	if v.chart != nil {
		add(names[i]+" agrees on what it proposed", func(n *world) { n.agree(i, bug) })
	}
	lead := func(n *world, guard Instant, up bool) {
		v := &n.voters[i]
		former := v.leader
		former.state = v.state
		v.term++
		v.leader = newProcess(i, v.term, guard, v.state)
		if up {
			v.leader = newProcess(i, 0, guard, v.state)
			v.leader.voter.count = v.next
			v.leader.voter.Step(guard, v.state, Leads{Term: v.term})
		}
		v.next = count{}
		if !witness(i) {
			v.former = &former
		}
	}
	guard := n.now
	if witness(i) && bug == "a witness that starts waits for nothing" ||
		bug == "a new leader waits for nothing" {
		guard = n.now - lease
	}
	if bug == guardByProcess && !witness(i) {
		guard = 0
	}
	switch {
	case witness(i) && n.left.Restarts > 0:
		add(names[i]+" restarts", func(n *world) { n.left.Restarts--; lead(n, guard, false) })
	case !witness(i) && n.left.Changes > 0:
		change := func(how string, up bool, agrees func(n *world)) {
			add(fmt.Sprint(names[i], " has another leader", how), func(n *world) {
				n.left.Changes--
				v := &n.voters[i]
				state := v.state
				if agrees(n); v.chart != nil && bug == countedEarly {
					v.state = v.before
				}
				v.log, v.chart = nil, nil
				lead(n, guard, up)
				n.voters[i].former.state = state
			})
		}
		change("", false, func(*world) {})
		if v.next.hold != nil {
			change(", which was up", true, func(*world) {})
		}
		if v.log != nil {
			change(fmt.Sprint(", which agrees on ", v.log.Op), v.next.hold != nil, func(n *world) {
				n.apply(i, n.voters[i].log)
			})
		}
		if v.chart != nil {
			change(", which agrees on what was proposed", v.next.hold != nil, func(n *world) { n.agree(i, bug) })
		}
	}
}

// search visits worlds until one is broken, nothing is left, or most were seen. It returns what is wrong with the
// trace to it, and whether everything was seen.
func search(l limits, bug string, most int) (broken string, trace []string, seen int, complete bool) {
	type link struct {
		from uint64
		act  string
	}
	seed := maphash.MakeSeed()
	first := begin(l, bug)
	var buf []byte
	id := func(n *world) uint64 {
		buf = n.key(buf[:0])
		return maphash.Bytes(seed, buf)
	}
	links := map[uint64]link{id(first): {}}
	type node struct {
		world *world
		id    uint64
	}
	queue := []node{{first, id(first)}}
	for len(queue) > 0 && len(links) < most {
		at := queue[0]
		queue[0] = node{}
		queue = queue[1:]
		for _, step := range at.world.next(bug) {
			n := at.world.clone()
			step.do(n)
			if bug == "the holder counts from the answer" {
				n.fromReceipt(at.world)
			}
			n.check()
			k := id(n)
			if _, known := links[k]; known && n.broken == "" {
				continue
			}
			links[k] = link{at.id, step.act}
			if n.broken != "" {
				for ; links[k].act != "" && len(trace) < 100; k = links[k].from {
					trace = append(trace, links[k].act)
				}
				slices.Reverse(trace)
				return n.broken, trace, len(links), false
			}
			queue = append(queue, node{n, k})
		}
	}
	return "", nil, len(links), len(queue) == 0
}
