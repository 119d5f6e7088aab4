package raftgroup

import (
	"fmt"
	"testing"
)

func TestLeadership(t *testing.T) {
	var events []string
	l := leadership{
		onLeader: func(term uint64) { events = append(events, fmt.Sprint("leads ", term)) },
		onFollower: func(term, leader uint64) {
			events = append(events, fmt.Sprint("steps down for ", leader, " in ", term))
		},
	}
	expect := func(what string, want ...string) {
		t.Helper()
		if fmt.Sprint(events) != fmt.Sprint(want) {
			t.Errorf("%s: told %q, want %q", what, events, want)
		}
		events = nil
	}
	l.applied(3)
	expect("an entry of a term that another leads")
	l.change(role{term: 4, leader: 1, leading: true})
	l.applied(3)
	expect("the log before its own first entry")
	l.applied(4)
	l.applied(4)
	expect("its own first entries", "leads 4")
	l.change(role{term: 5})
	l.applied(4)
	expect("an entry of its former term", "steps down for 0 in 5")
	l.change(role{term: 5, leader: 2})
	l.applied(5)
	expect("an entry of the term of another", "steps down for 2 in 5")
	l.change(role{term: 6, leader: 1, leading: true})
	l.change(role{term: 7, leader: 3})
	l.applied(6)
	expect("a term that ended before it began", "steps down for 3 in 7")
	l = leadership{}
	l.change(role{term: 8, leading: true})
	l.applied(8)
	l.change(role{term: 9}) // nobody wants to know
}
