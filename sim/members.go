package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// spares is how many nodes beside those that form it a region may get.
const spares = 2

// membership is what was asked of a region for one member. It is safe for concurrent use.
type membership struct {
	mu      sync.Mutex
	spare   bool // not one of those that form the region
	asked   bool // somebody asked to add it
	added   bool // and was told that it is
	removal bool // somebody asked to remove it
	removed bool // and was told that it is
}

func (s *membership) set(f func(s *membership)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// exists reports whether the member may be started.
func (s *membership) exists() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.spare || s.asked
}

// mayBeRemoved reports whether the member may be told that it was removed.
func (s *membership) mayBeRemoved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removal
}

// belongs reports whether the member is to be in its region, and whether that is known.
func (s *membership) belongs() (in, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.removed:
		return false, true
	case s.removal:
		return false, false
	case s.spare && s.asked:
		return true, s.added
	default:
		return !s.spare, true
	}
}

// changeMembers has a node add, promote or remove a member of its region.
func (x *faults) changeMembers(ctx context.Context) {
	p := x.someone()
	if p == nil {
		return
	}
	list, err := p.Members(ctx)
	if err != nil || len(list) == 0 {
		return
	}
	var learners []replication.NodeStatus
	for _, s := range list {
		if s.Learner {
			learners = append(learners, s)
		}
	}
	switch n := x.random.IntN(10); {
	case len(learners) > 0 && n < 6:
		s := learners[x.random.IntN(len(learners))]
		x.background(ctx, 5*time.Second, func(ctx context.Context) {
			err := p.PromoteMember(ctx, s.ID)
			x.tell("ask %s to promote %s: %v", p.NodeID(), s.Name, err)
			x.noteIf(injectMembers, err == nil)
		})
	case n < 7:
		addMember(ctx, x, p)
	default:
		removeMember(ctx, x, p, list[x.random.IntN(len(list))])
	}
}

// addMember adds a node that was never there, and starts it, before or after.
func addMember(ctx context.Context, x *faults, p *process) {
	i := slices.IndexFunc(x.fleet.members, func(m *member) bool {
		return m.region == p.member.region && !m.status.exists()
	})
	if i < 0 {
		return
	}
	m, learner := x.fleet.members[i], x.random.IntN(3) > 0
	m.status.set(func(s *membership) { s.asked = true })
	x.background(ctx, 5*time.Second, func(ctx context.Context) {
		_, err := p.AddMember(ctx, m.name, m.name, learner)
		x.tell("ask %s to add %s, as a learner %t: %v", p.NodeID(), m.name, learner, err)
		m.status.set(func(s *membership) { s.added = err == nil && !p.gone.Load() })
		x.noteIf(injectMembers, err == nil)
	})
	m.start(ctx)
}

func removeMember(ctx context.Context, x *faults, p *process, which replication.NodeStatus) {
	m := x.fleet.named(which.Name)
	if m == nil {
		return // it has not said its name yet
	}
	m.status.set(func(s *membership) { s.removal = true })
	x.background(ctx, 5*time.Second, func(ctx context.Context) {
		err := p.RemoveMember(ctx, which.ID)
		x.tell("ask %s to remove %s: %v", p.NodeID(), which.Name, err)
		x.noteIf(injectMembers, err == nil)
		if err == nil && !p.gone.Load() {
			m.status.set(func(s *membership) { s.removed = true })
		}
	})
}

func (f *fleet) named(name string) *member {
	for _, m := range f.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// departed reports whether an error is that of a node that was removed, and may have been.
func (m *member) departed(err error) bool {
	return errors.Is(err, replication.ErrRemoved) && m.status.mayBeRemoved()
}

// here returns the members that have to come together, or why they are not known: those that the leaders of their
// regions list. Whoever was removed must not run.
func (f *fleet) here() (list []*member, why string) {
	if !f.plan.inject[injectMembers] {
		return f.members, ""
	}
	for _, region := range f.plan.regions {
		listed, why := f.listed(region)
		if why != "" {
			return nil, why
		}
		for _, m := range f.members {
			if m.region != region {
				continue
			}
			in := slices.ContainsFunc(listed, func(s replication.NodeStatus) bool { return s.Name == m.name })
			want, known := m.status.belongs()
			switch {
			case known && in != want:
				return nil, fmt.Sprintf("%s is a member %t, and was acknowledged to be %t", m.name, in, want)
			case in:
				list = append(list, m)
			case m.current() != nil && m.status.mayBeRemoved():
				return nil, m.name + " was removed, and runs"
			}
		}
	}
	return list, ""
}

func (f *fleet) listed(region string) (list []replication.NodeStatus, why string) {
	for _, m := range f.members {
		if p := m.current(); p != nil && m.region == region && p.IsLeader() {
			list, err := p.Members(context.Background())
			if err != nil {
				return nil, fmt.Sprintf("members of %s: %v", region, err)
			}
			return list, ""
		}
	}
	return nil, "no leader in " + region
}
