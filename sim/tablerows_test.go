package sim

import (
	"math/rand/v2"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// row is one of the table of failures.
type row struct {
	fault  string
	a, b   int                                             // nodes of the regions; zero: one
	rules  func(*replication.VoteSettings)                 // where they are not those of the others; may be nil
	rates  func(machine string, random *rand.Rand) float64 // of the clocks; nil: they are right
	forced bool                                            // somebody accepts a loss
	once   bool                                            // one offset is enough, unless more are asked for
	play   func(s *stage)                                  // from the fault until everything was measured

	primary string        // who acknowledges afterwards
	or      []string      // or others do; "": nobody
	within  span          // when a write is acknowledged again
	heals   span          // the same from the end of the fault; zero: it does not end
	fences  time.Duration // until when a answers at most; zero: it goes on
	says    string        // what is refused or lost
	breaks  string        // the invariant that the row says is broken; "": none
}

// What follows from the times.
var (
	// sometime is as long as the row lets the fault last.
	sometime = span{0, time.Hour}
	// goesOn is where nobody notices anything but those who read or wrote at that moment.
	goesOn = span{0, attempt + 2*pause + trip + local}
	// elects is when a region has another leader, who needs the voters' support then.
	elects = span{0, 2*time.Second + trip + local + 100*time.Millisecond}
	// takeover is when b acknowledges if a is heard no more from the fault on: the lease of b's own promise, patience,
	// and three round trips, for the sounding, the vote and the ceiling.
	takeover = span{
		leaseTime + patience + 3*trip - renewEvery - look - trip/2,
		leaseTime + patience + 3*trip + turn + trip/2 + local,
	}
)

// stall is when a primary whose writes are not agreed on asks for no more support; stallFence is when it is fenced.
const (
	stall      = leaseTime/2 + look + attempt
	stallFence = stall + hold
)

func (s span) plus(d time.Duration) span { return span{s.least, s.most + d} }

func rows() []*row {
	var all []*row
	for _, list := range [][]*row{rowsOfLoss(), rowsOfCuts(), rowsOfPauses(), rowsOfClocks(), rowsOfMoves(),
		rowsOfSteps()} {
		all = append(all, list...)
	}
	return all
}

// rowsOfLoss are those in which nodes, regions and witnesses die.
func rowsOfLoss() []*row {
	return []*row{
		{
			fault: "a's leader node dies", a: 3, primary: "a", within: elects, says: "nothing; writes wait",
			play: func(s *stage) {
				s.hit()
				s.kill(s.leader("a"))
				s.stays()
			},
		},
		{
			fault: "all of a dies", primary: "b", within: takeover, fences: hold, says: "what had not crossed",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("a")...)
				s.moves()
			},
		},
		{
			fault: "a loses its local quorum, its leader among it", a: 3, primary: "b", within: takeover, fences: hold,
			says: "what had not crossed",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("a")[1:]...)
				s.moves()
			},
		},
		{
			fault: "a loses its local quorum, and its leader lives", a: 3, primary: "b",
			within: takeover.plus(stall), fences: stallFence, says: "what had not crossed",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("a")[:2]...)
				s.moves()
			},
		},
		{
			fault: "b dies", primary: "a", within: goesOn, says: "nothing",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("b")...)
				s.stays()
				s.demandAlone()
			},
		},
		{
			fault: "b loses its local quorum", b: 3, primary: "a", within: goesOn, says: "nothing",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("b")[:2]...)
				s.stays()
				s.demandAlone()
			},
		},
		{
			fault: "b dies, and nothing may be lost; b returns", primary: "a", within: sometime,
			heals: span{0, 5 * time.Second},
			rules: func(v *replication.VoteSettings) { v.MaxLoss = 0 },
			says:  "all writes, and linearizable reads behind one that waits, until b is back",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("b")...)
				s.stays()
				s.demand(!s.has(func(d deed) bool { return !d.read && d.began.After(s.fault) }),
					"a write is acknowledged in one region alone")
				s.demand(!s.has(func(d deed) bool { return d.read && d.began.After(s.fault.Add(leaseTime)) }),
					"a confirms a linearizable read, which may have seen what a failover still loses")
				s.mend(func() { s.startAll(s.ctx) })
				time.Sleep(time.Second)
			},
		},
		{
			fault: "the witness dies", primary: "a", within: goesOn, says: "nothing; status names it",
			play: func(s *stage) {
				s.hit()
				s.observers[0].lose()
				s.stays()
				s.demand(s.misses("witness/w1"), "a does not say that it misses the witness")
			},
		},
		{
			fault: "a and the witness die; the witness returns", primary: "b", within: sometime,
			// its guard; it says for how long it may not vote
			heals: span{leaseTime + 2*trip, leaseTime + 3*trip + 2*turn + local}, fences: hold,
			says: "everything until then",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("a")...)
				s.observers[0].lose()
				s.stays()
				s.says("does not answer")
				s.demand(!s.has(func(d deed) bool { return d.began.After(s.fault) }), "somebody answered alone")
				s.mend(s.observers[0].start)
				time.Sleep(time.Second)
			},
		},
		{
			fault: "b and the witness die, and return", primary: "a", within: sometime,
			heals: span{0, leaseTime/3 + 2*trip + renewEvery + local}, fences: 0, says: "writes and linearizable reads",
			play: func(s *stage) {
				s.hit()
				s.kill(s.of("b")...)
				s.observers[0].lose()
				s.stays()
				s.demandFenced()
				s.mend(func() {
					s.observers[0].start()
					s.startAll(s.ctx)
				})
				s.stays()
			},
		},
	}
}

// rowsOfCuts are those of the network.
func rowsOfCuts() []*row {
	between := func(fault, says string, check func(*stage), cut func(s *stage)) *row {
		return &row{fault: fault, primary: "a", within: goesOn, says: says, play: func(s *stage) {
			s.hit()
			cut(s)
			s.stays()
			check(s)
		}}
	}
	away := func(fault string, within span, cut func(s *stage)) *row {
		return &row{
			fault: fault, primary: "b", within: within, fences: hold,
			says: "at a everything but serializable reads", play: func(s *stage) {
				s.hit()
				cut(s)
				s.moves()
			},
		}
	}
	nothing := func(*stage) {}
	// Its lease ends, b hears that it has none, waits, and asks; from then on nobody extends a promise.
	deaf := span{
		hold + patience + leaseTime + 3*trip - 2*(renewEvery+look) - trip,
		hold + look + patience + turn + trip + leaseTime + turn + 3*trip + local,
	}
	return []*row{
		between("a and b are cut", "linearizable reads at b; b's soundings", (*stage).demandCut, func(s *stage) {
			s.network.Cut("a", "b")
		}),
		between("a and the witness are cut", "nothing", nothing, func(s *stage) { s.network.Cut("a", "w1") }),
		between("b and the witness are cut", "nothing", nothing, func(s *stage) { s.network.Cut("b", "w1") }),
		between("a is not heard by b", "b lags", nothing, func(s *stage) { s.network.CutOneWay("a", "b") }),
		between("b is not heard by a", "b lags", nothing, func(s *stage) { s.network.CutOneWay("b", "a") }),
		away("a is cut from b and the witness", takeover, func(s *stage) { s.network.Isolate("a") }),
		away("a hears neither b nor the witness, and is heard", deaf, func(s *stage) {
			s.network.CutOneWay("b", "a")
			s.network.CutOneWay("w1", "a")
		}),
		away("a hears b and the witness, and is not heard", takeover, func(s *stage) {
			s.network.CutOneWay("a", "b")
			s.network.CutOneWay("a", "w1")
		}),
		{
			fault: "a is cut from b and the witness, which are cut; it ends", primary: "a",
			within: sometime, heals: span{0, leaseTime/3 + 2*trip + renewEvery + local},
			says: "writes and linearizable reads",
			play: func(s *stage) {
				s.hit()
				s.network.Isolate("a")
				s.network.Cut("b", "w1")
				s.stays()
				s.demandFenced()
				s.mend(func() { s.network.Reconnect("a") })
				s.stays()
			},
		},
	}
}
