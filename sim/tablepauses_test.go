package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// right is a machine whose clock runs right.
func right(string, *rand.Rand) float64 { return 1 }

// rowsOfPauses are those in which machines stand still, or their disks do.
func rowsOfPauses() []*row {
	// What was proposed waits for half a lease before its primary asks for no more support.
	stalled := span{takeover.least + leaseTime/2, takeover.most + stall}
	return []*row{
		{
			fault: "a's leader stands still for 0.7 s", a: 3, rates: right, primary: "a",
			within: span{0, 700*time.Millisecond + goesOn.most}, says: "nothing; a pause",
			play: func(s *stage) {
				s.hit()
				s.freeze(700*time.Millisecond, false, s.leader("a"))
				s.stays()
			},
		},
		{
			fault: "a's leader stands still for 2.5 s", a: 3, rates: right, primary: "a", within: elects,
			says: "nothing; a pause", play: func(s *stage) {
				s.hit()
				s.freeze(2500*time.Millisecond, false, s.leader("a"))
				s.stays()
			},
		},
		{
			fault: "all of a stands still for 10 s", rates: right, primary: "b", within: takeover, fences: hold,
			says: "what had not crossed; a wakes fenced", play: func(s *stage) {
				s.hit()
				p := s.of("a")[0]
				p.disk.hang(10*time.Second+local, "") // what is under way is done after it woke
				s.patient(p)
				time.Sleep(local / 2)
				s.freeze(10*time.Second, false, p)
				s.moves()
				time.Sleep(time.Until(s.fault.Add(12 * time.Second)))
			},
		},
		{
			fault: "a is suspended for 10 s, and its clocks stand", rates: right, primary: "b", within: takeover,
			fences: 10*time.Second + hold, breaks: "7",
			says: "as before; a wakes with its lease, and its clocks do not know",
			play: func(s *stage) {
				s.hit()
				s.freeze(10*time.Second, true, s.of("a")...)
				s.moves()
				time.Sleep(time.Until(s.fault.Add(14 * time.Second)))
				s.sayLate(10 * time.Second)
			},
		},
		{
			fault: "the disk of a stalls", primary: "b", within: stalled, fences: stallFence,
			says: "what had not crossed", play: func(s *stage) {
				s.hit()
				s.of("a")[0].disk.hang(20*time.Second, "")
				s.moves()
			},
		},
		{
			fault: "the disk of a stalls under an order", primary: "b", within: stalled, fences: stallFence, once: true,
			says: "what had not crossed, and the order", play: func(s *stage) {
				s.hit()
				p := s.of("a")[0]
				p.disk.hang(20*time.Second, "")
				s.work.Go(func() {
					_, err := p.Voting().Pause(s.ctx, "the disk is bad")
					s.tell("pause: %v", err)
				})
				s.moves()
			},
		},
		{
			fault: "the disks of a majority of a stall", a: 3, primary: "b", within: stalled, fences: stallFence,
			says: "what had not crossed", play: func(s *stage) {
				s.hit()
				for _, p := range s.of("a")[1:] {
					p.disk.hang(20*time.Second, "")
				}
				s.moves()
			},
		},
	}
}

// rowsOfClocks are those in which clocks are wrong.
func rowsOfClocks() []*row {
	within := func(_ string, random *rand.Rand) float64 { return 0.99 + 0.02*random.Float64() }
	// slow is how much more slowly than it may the clock of a runs.
	const slow = 0.5
	cut := func(s *stage) {
		s.hit()
		s.network.Isolate("a")
		s.moves()
	}
	percent := span{takeover.least * 98 / 100, takeover.most * 102 / 100}
	return []*row{
		{
			fault: "clocks wrong by up to 1 %; a is cut from b and the witness", rates: within, primary: "b",
			within: percent, fences: hold * 102 / 100, says: "as without", play: cut,
		},
		{
			fault: "the clock of a runs at half the speed; a is cut", primary: "b",
			within: span{leaseTime / 2, takeover.most},
			fences: time.Duration(float64(hold) / slow), breaks: "7",
			rates: func(name string, _ *rand.Rand) float64 {
				if name[0] == 'a' {
					return slow
				}
				return 1
			},
			says: "two regions acknowledge", play: func(s *stage) {
				cut(s)
				time.Sleep(2 * time.Second)
				s.sayLate(0)
			},
		},
		{
			fault: "the wall clock of a's leader jumps", a: 3, rates: right, primary: "a",
			within: span{0, goesOn.most + look + trip}, says: "nothing; one pause", play: func(s *stage) {
				s.hit()
				s.machines[s.leader("a").NodeID()].set(time.Duration(s.random.IntN(2)*2-1) * time.Hour)
				s.stays()
			},
		},
	}
}

// sayLate notes for how long a answered in its epoch beside b, from a moment after the fault on.
func (s *stage) sayLate(from time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var began, last time.Time // b acknowledged first, and a answered last
	writes, reads := 0, 0
	for _, d := range s.deeds {
		switch late := d.region == "a" && d.epoch == s.reign && d.ended.After(s.fault.Add(from)); {
		case began.IsZero() && d.epoch > s.reign && !d.read:
			began = d.ended
		case late && !began.IsZero() && d.ended.After(began):
			last = d.ended
			if d.read {
				reads++
			} else {
				writes++
			}
		}
	}
	if !last.IsZero() {
		s.said = append(s.said, "a answers beside b")
		s.trace.tell("a answered for %v beside b: %d writes, %d reads", last.Sub(began), writes, reads)
	}
}

// rowsOfMoves are those in which a failover meets something else.
func rowsOfMoves() []*row {
	return []*row{
		{
			fault: "b has another leader, and then a dies", b: 3, primary: "b", within: takeover.plus(leaseTime),
			fences: hold, says: "what had not crossed", play: func(s *stage) {
				s.changeLeader("b")
				time.Sleep(time.Duration(s.random.Int64N(int64(leaseTime))))
				s.hit()
				s.kill(s.of("a")...)
				s.moves()
			},
		},
		{
			fault: "a has b alone, which has another leader; then a is cut off", b: 3, primary: "b",
			within: takeover.plus(leaseTime), fences: hold, says: "what had not crossed", play: func(s *stage) {
				s.network.Cut("a", "w1")
				s.stays()
				s.changeLeader("b")
				time.Sleep(time.Duration(s.random.Int64N(int64(renewEvery))))
				s.hit()
				s.network.Isolate("a")
				s.moves()
			},
		},
		{
			fault: "a has the witness alone, which restarts", primary: "a", within: goesOn, says: "nothing",
			play: func(s *stage) {
				s.network.Cut("a", "b")
				s.stays()
				s.hit()
				s.observers[0].lose()
				s.observers[0].start()
				s.stays()
			},
		},
		{
			fault: "a and b are cut, and then a's leader node dies", a: 3, primary: "a", within: elects,
			says: "nothing; writes wait", play: func(s *stage) {
				s.network.Cut("a", "b")
				s.stays()
				s.hit()
				s.kill(s.leader("a"))
				s.stays()
			},
		},
		{
			fault: "a and b are cut, and the wall clock of a's leader jumps", a: 3, rates: right, primary: "a",
			within: span{0, goesOn.most + look + trip}, says: "nothing; one pause", play: func(s *stage) {
				s.network.Cut("a", "b")
				s.stays()
				s.hit()
				s.machines[s.leader("a").NodeID()].set(time.Duration(s.random.IntN(2)*2-1) * time.Hour)
				s.stays()
			},
		},
		{
			fault: "a dies, and the witness restarts 1 to 3 s later", primary: "b",
			within: span{takeover.least, 2*leaseTime + 3*trip + 2*turn + local}, fences: hold,
			says: "what had not crossed", play: func(s *stage) {
				s.hit()
				s.kill(s.of("a")...)
				time.Sleep(time.Second + time.Duration(s.random.Int64N(int64(2*time.Second))))
				s.observers[0].lose()
				s.observers[0].start()
				s.moves()
			},
		},
		{
			fault: "a is cut; b is voted for, and dies before it begins; a is back", primary: "a",
			within: takeover.plus(leaseTime), fences: hold, says: "nothing",
			play: func(s *stage) {
				s.hit()
				s.network.Isolate("a")
				s.until(20*time.Second, "the witness votes for b", func() bool {
					return s.observers[0].process.State().Ballot.Promised > s.reign
				})
				s.kill(s.of("b")...)
				s.network.Reconnect("a")
				s.moves()
			},
		},
		{
			fault: "the leaders of a and b change again and again", a: 3, b: 3, primary: "a",
			within: elects, says: "writes wait", play: func(s *stage) {
				s.hit()
				for range 12 {
					for _, region := range []string{"a", "b"} {
						s.changeLeader(region)
					}
					time.Sleep(time.Duration(s.random.Int64N(int64(time.Second))))
				}
				s.stays()
			},
		},
		{
			fault: "b lags by more than the budget, and a dies; it is accepted", primary: "b",
			within: sometime, heals: span{0, 3 * time.Second}, fences: 20 * time.Second,
			forced: true,
			rules:  func(v *replication.VoteSettings) { v.MaxLoss = 20 }, says: "everything, until it is accepted",
			play: func(s *stage) {
				s.hit()
				s.network.Cut("a", "b")
				time.Sleep(4 * time.Second)
				s.kill(s.of("a")...)
				s.says("acknowledged commands of epoch")
				s.stays()
				s.demand(!s.has(func(d deed) bool { return d.epoch > s.reign }), "b took over beyond the budget")
				s.mend(func() {
					r, err := s.leader("b").FailoverWithin(s.ctx, "b", 10_000)
					if err == nil {
						_, err = fmt.Sscanf(r.Loss[strings.LastIndex(r.Loss, "at most "):], "at most %d", &s.accepted)
					}
					s.demand(err == nil, "what is lost cannot be accepted, or is not told: %+v, %v", r, err)
				})
				time.Sleep(time.Second)
			},
		},
		{
			fault: "the witness is replaced, and a dies in the middle", primary: "b", or: []string{""},
			within: span{-1, takeover.most}, fences: hold,
			says: "never two; nobody if there are but two voters", play: func(s *stage) {
				replaceWitness(s)
				s.hit()
				s.kill(s.of("a")...)
				s.stays()
			},
		},
		{
			fault: "the witness is replaced, and a is cut off with the new one", primary: "b", or: []string{"a", ""},
			within: sometime, says: "never two", play: func(s *stage) {
				replaceWitness(s)
				s.hit()
				for _, there := range []string{"b", "w1"} {
					s.network.Cut("a", there)
					s.network.Cut("w2", there)
				}
				s.stays()
			},
		},
	}
}

// changeLeader has a region of three nodes get another leader, if it has one.
func (s *stage) changeLeader(region string) {
	list := s.of(region)
	if leader := list[len(list)-1]; leader != nil {
		err := leader.TransferLeader(s.ctx, list[0].Health().RaftID)
		s.tell("another leader of %s: %v", region, err)
	}
}

// replaceWitness begins to replace w1 by w2, and returns in the middle of that.
func replaceWitness(s *stage) {
	o := &observer{fleet: s.fleet, name: "w2", clock: s.observers[0].clock, memory: vfs.NewCrashableMem()}
	for _, region := range s.plan.regions {
		s.network.SetDelay(region, o.name, s.plan.far, 0)
	}
	s.observers = append(s.observers, o)
	o.start()
	leader := s.leader("a")
	s.work.Go(func() {
		c, err := leader.Voting().Change(s.ctx, replication.VoteChange{
			Remove: "witness/w1", Witness: "w2", Addrs: []string{"w2"},
		})
		s.tell("the change: %+v, %v", c, err)
	})
	time.Sleep(trip + time.Duration(s.random.Int64N(int64(3*trip))))
}

// demandAlone notes whether a write that has to be in two regions is acknowledged as if it were.
func (s *stage) demandAlone() {
	p := s.leader("a")
	c := newClient(s.fleet, s.evidence.operations, 9)
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	o := c.order(ctx, p, []replication.ProposeOption{replication.WithRegions(2)}, []byte("both"))
	s.demand(o.outcome == acknowledged && o.short && o.regions == 1, "a write for two regions is %v in %d", o.outcome,
		o.regions)
	s.demand(s.misses("b"), "a does not say that it misses b")
}

// misses reports whether the primary says that a voter does not support it.
func (s *stage) misses(voter string) bool {
	for _, v := range s.leader("a").Voting().Status().Voters {
		if v.ID == voter {
			return !v.Supports && v.Problem != ""
		}
	}
	return false
}

// demandCut notes whether b, which does not hear a, does what it should.
func (s *stage) demandCut() {
	s.says("witness/w1 supports a")
	s.demand(!s.has(func(d deed) bool { return d.region == "b" && d.began.After(s.fault) }), "b answers without a")
	s.demandAlone()
}

// demandFenced notes when a answered last while nobody supported it, and whether it answers serializable reads.
func (s *stage) demandFenced() {
	first, last := s.fault.Add(hold-renewEvery-look-trip-local), s.fault.Add(hold)
	s.demand(!s.has(func(d deed) bool { return d.ended.After(last) }), "a answers longer than its lease")
	s.demand(s.has(func(d deed) bool { return d.ended.After(first) }), "a is fenced sooner than it has to be")
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	err := s.leader("a").ReadBarrier(ctx, replication.Serializable)
	s.demand(err == nil, "a serializable read: %v", err)
	s.demand(s.leader("a").Voting().Status().Fenced, "a does not say that it is fenced")
}
