package ballot

import (
	"encoding/binary"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// key is the same for worlds that differ in nothing that can matter.
func (n *world) key(buf []byte) []byte {
	for i := range n.voters {
		v := &n.voters[i]
		buf = n.keyOfState(buf, v.state)
		buf = append(buf, byte(v.term), byte(len(v.leader.confirms)))
		if v.log != nil {
			buf = append(buf, v.log.Op[0], byte(v.call))
			if v.log.Vote != nil {
				buf = append(buf, byte(v.log.Vote.Epoch), v.log.Vote.For[0], n.keyOf(v.log.Vote.Charter.Mark()))
			} else if v.log.Charter != nil {
				buf = append(buf, n.keyOf(v.log.Charter.Mark()))
			} else if v.log.Hold != nil {
				buf = append(buf, byte(v.log.Over/unit))
			} else {
				buf = append(buf, byte(v.log.Epoch), byte(v.log.Known.Ceiling))
			}
		}
		buf = n.keyOfProposed(buf, v.chart)
		buf = append(buf, byte(v.next.number), n.ahead(v.next.end()))
		buf = n.keyOfProcess(append(buf, '/'), i, &v.leader)
		if v.former != nil {
			buf = n.keyOfProcess(n.keyOfState(append(buf, '<'), v.former.state), i, v.former)
		}
		buf = append(buf, '|')
	}
	for e := range n.cast {
		cast, by := n.cast[e], n.by[e]
		buf = append(buf, cast[0]|cast[1]<<2|cast[2]<<4|cast[3]<<6, by[0]|by[1]<<2|by[2]<<4|by[3]<<6, n.begun[e],
			byte(n.acked[e]), n.stood[e][a], n.stood[e][b])
	}
	for k := range n.charters {
		buf = n.keyOfCharter(buf, &n.charters[k])
	}
	l := n.left
	return append(buf, byte(n.spread), byte(l.Changes), byte(l.Restarts), byte(l.Writes), byte(l.Stands), byte(l.Seals),
		byte(l.Refuses), byte(l.Charters), byte(l.Holds), byte(l.Lowers), byte(l.Renewals))
}

// keyOfProposed is of a charter that waits to be agreed on, if there is one.
func (n *world) keyOfProposed(buf []byte, c *timeline.Control) []byte {
	if c == nil {
		return buf
	}
	return n.keyOfCharter(append(buf, 'p', c.To[0]), c.Charter)
}

func (n *world) keyOfCharter(buf []byte, c *timeline.Charter) []byte {
	buf = append(buf, byte(c.Epoch), byte(c.Number), byte(n.count(c, func(int) bool { return true })),
		byte(c.Under.Epoch), byte(c.Under.Position), byte(c.Lease/unit), byte(c.Former/unit))
	if c.Hold != nil {
		buf = append(buf, 'h', byte(max(c.Hold.Until.Sub(n.wall()), 0)/unit))
	}
	for i := range n.voters {
		if c.Voter(names[i]) != nil {
			buf = append(buf, byte(i))
		}
	}
	return buf
}

// keyOf stands for a charter.
func (n *world) keyOf(m timeline.Mark) byte { return byte(1 + n.charter(m)) }

func (n *world) keyOfState(buf []byte, s *timeline.State) []byte {
	b := s.Ballot
	buf = append(buf, byte(b.Promised), byte(1+slices.Index(names[:], b.For)), n.keyOf(b.Charter.Mark()),
		byte(b.Handoff), byte(b.Known.Epoch()), byte(b.Known.Ceiling), byte(b.Count.Number), byte(b.Count.Over/unit),
		byte(s.Cursor.Epoch), byte(s.Cursor.Position), byte(s.Refused.Epoch), byte(s.Refused.Handoff),
		byte(s.Yielded.Epoch), byte(len(s.Reigns)))
	for _, r := range s.Reigns {
		buf = append(buf, byte(r.Epoch), byte(r.First), r.Primary[0])
	}
	if h := s.Seal; h != nil {
		buf = append(buf, 's', byte(h.Epoch), byte(h.Handoff))
	}
	return buf
}

func (n *world) ahead(i Instant) byte { return byte(max(i-n.now, 0) / unit) }

func (n *world) keyOfProcess(buf []byte, i int, p *process) []byte {
	v := &p.voter
	promise := lease
	if n.left.Holds > 0 || n.left.Held || n.left.Ended {
		promise = holding
	}
	buf = append(buf, n.ahead(v.until), n.ahead(v.others), byte(v.epoch), byte(1+slices.Index(names[:], v.region)),
		byte(v.maxTerm), n.ahead(v.since+promise), byte(v.voting), byte(p.shared), byte(p.holder.floor),
		byte(p.holder.asked), n.keyOf(p.holder.mark))
	if v.held.hold != nil {
		buf = append(buf, n.keyOf(v.held.mark))
	}
	if v.count.hold != nil {
		buf = append(buf, n.ahead(v.count.end()), byte(v.count.number))
	}
	for _, is := range []bool{v.before != nil, v.noted != nil && v.noted.Same(v.count.hold), v.noting, p.holder.held} {
		if is {
			buf = append(buf, 'b')
		}
		buf = append(buf, '-')
	}
	if v.asked {
		buf = append(buf, 'a', n.ahead(v.wanted+lease))
	}
	if v.fenced {
		buf = append(buf, 'd')
		if n.now-v.alone >= settles(lease) {
			buf = append(buf, 'D')
		}
	}
	if k := p.kept; k.mark.Number != 0 {
		buf = append(buf, n.keyOf(k.mark), n.ahead(k.since+lease+unit))
	}
	if h := &p.holder; h.hold != nil {
		buf = append(buf, n.ahead(h.began+holding))
	}
	for _, r := range v.requests {
		buf = n.keyOfRequest(buf, i, p, r)
	}
	buf = append(buf, '.')
	for k, id := range names {
		if s := p.holder.support(id); s != nil {
			buf = append(buf, n.ahead(s.Until), byte(s.Ceiling), byte(s.asks), n.keyOf(s.mark), n.keyOf(s.has),
				n.ahead(s.Lease))
			if s.sent == n.now {
				buf = append(buf, 'n')
			}
			if k < len(n.voters) && n.awaits(i, k, s.call) {
				buf = append(buf, 'c', n.ahead(s.sent+lease), n.ahead(s.sent+s.hold))
			}
			if s.free {
				buf = append(buf, 'f')
			}
			if s.told {
				buf = append(buf, 't')
			}
		}
		buf = append(buf, ',')
	}
	if p.stands != nil {
		if p.used {
			buf = append(buf, 'u')
		}
		if Within(timeline.Mandate{Lost: p.lost}, p.stands.Charter.MaxLoss) != "" {
			buf = append(buf, 'l')
		}
		buf = append(buf, byte(p.stands.Epoch), byte(p.stands.Handoff), byte(p.stands.Cursor.Position),
			n.keyOf(p.stands.Charter.Mark()))
		for _, yes := range p.votes {
			if yes {
				buf = append(buf, 'y')
			}
			buf = append(buf, '-')
		}
	}
	return binary.LittleEndian.AppendUint16(buf, uint16(len(p.confirms)))
}

// awaits reports whether a process of voter k may still answer a call of a holder of region i.
func (n *world) awaits(i, k int, call uint64) bool {
	is := func(q question) bool { return call != 0 && q.from == i && q.renewal == call }
	v := &n.voters[k]
	return slices.ContainsFunc(v.leader.calls, is) || v.former != nil && slices.ContainsFunc(v.former.calls, is)
}

// keyOfRequest is of a request that a process of voter i has not answered yet.
func (n *world) keyOfRequest(buf []byte, i int, p *process, r request) []byte {
	buf = append(buf, byte(r.call), n.ahead(r.at+lease), n.ahead(r.at+r.promise))
	if d := r.renewal; d != nil {
		buf = append(buf, byte(d.Epoch), byte(d.Ceiling), byte(d.Term), n.keyOf(d.Charter.Mark()))
		for flag, is := range [...]bool{d.Held, r.counting, r.records, r.waits} {
			if is {
				buf = append(buf, "hcrw"[flag])
			}
		}
	}
	if c := r.candidacy; c != nil {
		buf = append(buf, byte(c.Epoch), byte(c.Handoff), byte(c.Cursor.Position), n.keyOf(c.Charter.Mark()))
	}
	q := p.question(r.call)
	if q.call == 0 {
		return buf
	}
	buf = append(buf, '?', byte(q.from), byte(q.epoch))
	asker := &n.voters[q.from].leader
	if q.former {
		asker, buf = n.voters[q.from].former, append(buf, 'f')
	}
	if asker == nil {
		return append(buf, '!')
	}
	if s := asker.holder.support(names[i]); s != nil && q.renewal != 0 && q.renewal == s.call {
		buf = append(buf, '=') // else the answer comes too late
	}
	return buf
}
