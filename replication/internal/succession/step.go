package succession

// step gathers what one step of a Machine comes to.
type step struct {
	term uint64 // that is led; everything but the numbers of effects is forgotten with it
	last uint64 // number of an effect
	out  []Effect
	due  Instant // when to look again
}

// do adds e to what is to be done, and returns its identity.
func (s *step) do(e Effect) uint64 {
	if e.ID == 0 {
		s.last++
		e.ID = s.last
	}
	e.Term = s.term
	s.out = append(s.out, e)
	return e.ID
}

func (s *step) answer(call uint64, r Reply) { s.do(Effect{Do: Answer, Call: call, Reply: r}) }

func (s *step) fail(call uint64, err error) { s.answer(call, Reply{Err: err}) }

// wake has the machine look again at that time, if not before.
func (s *step) wake(at Instant) { s.due = min(s.due, at) }
