package raftgroup

// role is what this node is in a term.
type role struct {
	term    uint64
	leader  uint64
	leading bool
}

// leadership tells the owner of the group when this node begins to lead and when it steps down, in order with what is
// applied: that it leads not before its own first entry is, and so everything before it.
//
//   - Who steps down before that was never told that he leads; he is told only that he does not.
//   - For one term, leading is told once.
type leadership struct {
	onLeader   func(term uint64)         // may be nil
	onFollower func(term, leader uint64) // may be nil

	term uint64 // that this node leads, 0 if none
	told bool   // that it leads term
}

// change takes a new role.
func (l *leadership) change(r role) {
	if r.leading {
		l.term, l.told = r.term, false
		return
	}
	l.term, l.told = 0, false
	if l.onFollower != nil {
		l.onFollower(r.term, r.leader)
	}
}

// applied notes that an entry of a term, and everything before it, is applied.
func (l *leadership) applied(term uint64) {
	if l.term == 0 || l.told || term != l.term {
		return
	}
	l.told = true
	if l.onLeader != nil {
		l.onLeader(l.term)
	}
}
