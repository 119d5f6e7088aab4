package raftgroup

import (
	"cmp"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// A sample is slow if it takes so much longer than the quorum; pace says when the disk is. Between equal disks the one
// may take up to twice as long: what comes just after a sync began waits for two.
const (
	slowFactor = 3
	// slowParts says below which part of an election timeout nothing is slow.
	slowParts = 25
	// slowRestElections is how many election timeouts lie between two times that a slow disk gives leadership away,
	// whose ever it is: who was given leadership keeps it for as long.
	slowRestElections = 30
	// slowAgeElections is how many election timeouts a sample is remembered.
	slowAgeElections = 100
)

// disk is what the loop knows of the disk below its log. Only the writer waits for that disk, so a loop would lead on
// for as long as it hangs; but nothing is applied here meanwhile, and so nobody is answered.
//
//   - A disk is stuck when one write has not ended for an election timeout, counted in ticks: a process that stood
//     still as a whole has no stuck disk.
//   - Who has a stuck disk does not campaign, and hears nobody who does: its votes, its own too, would wait for the
//     disk, and candidates ask as long as nobody leads.
//   - Nor does it take appends of the term in which it is: a leader sends one with each answer to a heartbeat, and what
//     comes of them would wait without a bound. It refuses the first that it takes again, and is sent what it lacks.
//   - Leadership is handed over only if others commit without this disk: to whom, says successor. From a stuck disk
//     that is tried once in an election timeout, and with another member each time; from a slow one much less often.
type disk struct {
	write uint64          // the write under way at the last tick
	ticks int             // since it was first seen
	told  bool            // that it is stuck
	tried map[uint64]bool // who was to take over since it is stuck
	next  int             // ticks at which the next is tried

	sample sample
	pace   pace // while this node leads
	rest   int  // ticks until a slow disk matters again
}

// sample follows one entry of this leader to its own disk and to a quorum.
type sample struct {
	index     uint64 // 0: none
	begun     time.Time
	committed time.Duration // until a quorum had it, 0 while it has not
}

// stuck tells whether one write has not ended for an election timeout.
func (l *loop) stuck() bool { return l.disk.ticks >= l.electionTicks }

// watchDisk looks at the disk, once in a tick.
func (l *loop) watchDisk() {
	d := &l.disk
	d.rest = max(d.rest-1, 0)
	write := l.writer.writing()
	if write == 0 || write != d.write {
		if d.told {
			l.log.Warn("the disk of this node writes again", "after", l.ofTicks(d.ticks))
		}
		d.write, d.ticks, d.told, d.tried, d.next = write, 0, false, nil, 0
		l.view.stalled.Store(0)
	} else {
		d.ticks++
	}
	if !l.stuck() {
		return
	}
	l.view.stalled.Store(int64(l.ofTicks(d.ticks)))
	if !d.told {
		d.told = true
		l.log.Warn("the disk of this node has not finished a write; until it has, the node takes part in no election",
			"for", l.ofTicks(d.ticks), "leads", l.leading)
	}
	own := l.matchOf(l.self)
	if !l.leading || d.ticks < d.next || l.commit <= own { // what this disk lacks is not missed yet
		return
	}
	if to := l.successor(own, d.tried); to != 0 {
		if d.tried == nil {
			d.tried = make(map[uint64]bool)
		}
		d.tried[to], d.next = true, d.ticks+l.electionTicks
		l.log.Warn("the disk of this node has not finished a write: handing leadership over",
			"for", l.ofTicks(d.ticks), "to", peers.NameIn(l.directory, to))
		l.node.TransferLeader(to)
	} else {
		d.tried = nil
	}
}

func (l *loop) ofTicks(n int) time.Duration { return time.Duration(n) * l.tickInterval }

// successor returns who is to lead in place of this node: of the voters that were not tried, may lead, and are known to
// have more of the log than least, one that answered just now, then one whose disk is not known to be slow as well,
// then the one that has most. It returns 0 if there is none, or if somebody is to take over already.
func (l *loop) successor(least uint64, tried map[uint64]bool) uint64 {
	if l.node.BasicStatus().LeadTransferee != 0 {
		return 0
	}
	var best candidate
	lately := l.clock.Now().Add(-l.ofTicks(l.electionTicks) / 2)
	l.node.WithProgress(func(id uint64, kind raft.ProgressType, pr tracker.Progress) {
		may := kind == raft.ProgressTypePeer && pr.RecentActive && id != l.self && !tried[id] && !l.unfit.known(id)
		if !may || pr.Match <= least {
			return
		}
		c := candidate{id: id, ahead: l.disk.pace.ahead(id), match: pr.Match}
		if !l.heard[id].Before(lately) {
			c.lately = 1
		}
		if best.id == 0 || c.compare(best) > 0 {
			best = c
		}
	})
	return best.id
}

// candidate is a voter that could lead in place of this node.
type candidate struct {
	id     uint64
	lately int // 1 if it answered within half an election timeout
	ahead  int // how often it was faster than this disk
	match  uint64
}

// compare returns more than 0 if c is to be preferred to d.
func (c candidate) compare(d candidate) int {
	return cmp.Or(cmp.Compare(c.lately, d.lately), cmp.Compare(c.ahead, d.ahead), cmp.Compare(c.match, d.match))
}

// beginSample follows the entry index, which goes to the log now, if no other is followed.
func (l *loop) beginSample(index uint64) {
	if l.disk.sample.index == 0 {
		l.disk.sample = sample{index: index, begun: l.clock.Now()}
	}
}

// measureDisk compares this disk with those of the others, at the end of a turn.
func (l *loop) measureDisk() {
	s := &l.disk.sample
	if !l.leading {
		*s = sample{}
		l.disk.pace.forget()
	}
	if s.index == 0 {
		return
	}
	committed, own := l.commit >= s.index, l.matchOf(l.self) >= s.index
	if !committed && !own || s.committed > 0 && !own {
		return
	}
	now := l.clock.Now()
	took := max(now.Sub(s.begun), 1)
	if !own {
		s.committed = took
		return
	}
	index, waited := s.index, s.committed
	*s = sample{}
	t := timing{at: now}
	t.slow = waited > 0 && took >= slowFactor*waited && took >= l.ofTicks(l.electionTicks)/slowParts
	if t.slow {
		t.before = holders(l, index)
	}
	l.disk.pace.note(t, now.Add(-l.ofTicks(slowAgeElections*l.electionTicks)))
	if t.slow && l.disk.rest == 0 && l.disk.pace.slow() {
		l.giveUpSlowly(took, waited)
	}
}

// holders returns which others are known to have an entry on disk.
func holders(l *loop, index uint64) (ids []uint64) {
	l.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id != l.self && pr.Match >= index {
			ids = append(ids, id)
		}
	})
	return ids
}

// giveUpSlowly hands leadership over because this disk took so long for an entry that others had committed long before.
func (l *loop) giveUpSlowly(took, waited time.Duration) {
	to := l.successor(0, nil)
	if to == 0 {
		return
	}
	l.disk.pace.forget()
	l.disk.rest = slowRestElections * l.electionTicks
	l.log.Warn("the disk of this node is slower than those of the others: handing leadership over",
		"write", took, "others", waited, "to", peers.NameIn(l.directory, to))
	l.node.TransferLeader(to)
}
