package sim

import (
	"cmp"
	"fmt"
	"time"
)

// rowsOfSteps are those in which a node loses its power at a crash point of what moves the primary.
func rowsOfSteps() (all []*row) {
	// Who leads next may have to wait for what the one before promised.
	again := span{0, leaseTime + elects.most}
	later := again.most + patience + 3*trip + turn
	for _, moment := range []string{momentBefore, momentWithin, momentAfter} {
		when := map[string]string{momentWithin: "in the middle of"}[moment]
		when = cmp.Or(when, moment)
		all = append(all,
			&row{
				fault: fmt.Sprintf("a dies, and a node of b %s its vote", when), b: 3, primary: "b", once: true,
				within: span{takeover.least, takeover.most + later}, fences: hold, says: "what had not crossed",
				play: func(s *stage) {
					s.crashAt(moment, stepVote, "b")
					s.hit()
					s.kill(s.of("a")...)
					s.fell()
					s.moves()
				},
			},
			&row{
				fault: fmt.Sprintf("a node of a dies %s noting a ceiling", when), a: 3, primary: "a", once: true,
				within: elects, says: "nothing; writes wait", play: func(s *stage) {
					s.hit()
					s.crashAt(moment, stepCeiling, "a")
					s.fell()
					s.stays()
				},
			},
			&row{
				fault: fmt.Sprintf("a node of a dies %s the seal of a switchover", when), a: 3, primary: "a",
				or: []string{"b"}, within: again, says: "nothing; writes wait", once: true, play: func(s *stage) {
					s.hit()
					s.crashAt(moment, stepSeal, "a")
					s.switchTo("b")
					s.fell()
					s.stays()
				},
			},
			&row{
				fault: fmt.Sprintf("a node of b dies %s beginning by a switchover", when), b: 3, primary: "b",
				or: []string{"a"}, within: again, says: "nothing; writes wait", once: true, play: func(s *stage) {
					s.hit()
					s.crashAt(moment, stepBegin, "b")
					s.switchTo("b")
					s.fell()
					s.stays()
				},
			})
	}
	// It asks b for so long, first to begin and then to refuse, before it asks the witness.
	const asks = 10*time.Second + leaseTime
	return append(all, &row{
		fault: "b dies before beginning by a switchover", primary: "a", once: true, says: "nothing; writes wait",
		within: span{asks, asks + 6*trip + turn + local + attempt + pause}, play: func(s *stage) {
			s.hit()
			s.crashAt(momentBefore, stepBegin, "b")
			s.switchTo("b")
			s.fell()
			s.moves()
		},
	})
}

// crashAt has the power fail of the first node of a region that comes to a crash point, and fell waits until it has.
func (s *stage) crashAt(moment, step, region string) {
	s.crashes.arm(crashPoint{moment, step}, region, 0, false)
}

func (s *stage) fell() {
	s.until(20*time.Second, "a node comes to the crash point", func() bool { return !s.crashes.pending() })
	for _, m := range s.members {
		m.bury()
	}
}

// switchTo asks for a switchover, and does not wait for it.
func (s *stage) switchTo(region string) {
	p := s.leader("a")
	s.work.Go(func() {
		r, err := p.Switchover(s.ctx, region)
		s.tell("switchover: %+v, %v", r, err)
	})
}
