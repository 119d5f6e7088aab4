package timeline

// Would returns what a region in the state s would make of c, and why it refuses it. Nothing changes. Whoever proposes
// asks first: what the rules refuse now is not worth an entry.
func Would(s *State, c *Control) (Outcome, string) {
	return verdict(NewMachine(s).Control(c))
}

// WouldBegin is Would of the reign r, begun where s is.
func WouldBegin(s *State, r Reign) (Outcome, string) {
	r.First, r.Previous = s.Cursor.Position+1, s.Cursor.Chain
	return verdict(NewMachine(s).Reign(r))
}

func verdict(o Outcome, why string, err error) (Outcome, string) {
	if err != nil {
		return Refused, err.Error()
	}
	return o, why
}
