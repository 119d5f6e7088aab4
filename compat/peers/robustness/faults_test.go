package robustness

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
	"github.com/mimir-kv/mimir/localfleet"
)

// pause is for how long nodes stand still, and links are cut: a leader that is away so long is followed by another.
const pause = 3 * time.Second

// scene is a fleet under traffic, as it was when that began.
type scene struct {
	*fleet.Fleet
	primary, secondary *localfleet.Region
}

// fault is what happens to a fleet once. When it returns all nodes run, and all links are whole.
type fault struct {
	name   string
	happen func(*scene, context.Context) error
	spares func(*scene) *localfleet.Region // no node of it is started again
}

var faults = []fault{
	{"KillLeaderOfPrimary", at(inPrimary, (*scene).killLeader), inSecondary},
	{"KillFollowerOfPrimary", at(inPrimary, (*scene).killFollower), inSecondary},
	{"KillPrimary", at(inPrimary, (*scene).killAll), inSecondary},
	{"KillLeaderOfSecondary", at(inSecondary, (*scene).killLeader), inPrimary},
	{"KillSecondary", at(inSecondary, (*scene).killAll), inPrimary},
	{"PauseLeaderOfPrimary", at(inPrimary, (*scene).pauseLeader), inSecondary},
	{"PauseLeaderOfSecondary", at(inSecondary, (*scene).pauseLeader), inPrimary},
	{"CutLink", (*scene).cutLink, inPrimary},
	{"Switchover", (*scene).there, inPrimary},
	{"SwitchoverAndBack", (*scene).thereAndBack, inPrimary},
	{"KillLeaderDuringSwitchover", (*scene).killDuringSwitchover, inPrimary},
}

func inPrimary(s *scene) *localfleet.Region   { return s.primary }
func inSecondary(s *scene) *localfleet.Region { return s.secondary }

// at does something to one of the regions.
func at(
	region func(*scene) *localfleet.Region, do func(*scene, context.Context, *localfleet.Region) error,
) func(*scene, context.Context) error {
	return func(s *scene, ctx context.Context) error { return do(s, ctx, region(s)) }
}

// again kills nodes at once and starts them again.
func again(nodes ...*localfleet.Node) error {
	localfleet.Kill(nodes)
	return localfleet.Start(nodes)
}

func (s *scene) killAll(_ context.Context, r *localfleet.Region) error { return again(r.Nodes...) }

func (s *scene) killLeader(ctx context.Context, r *localfleet.Region) error {
	leader, err := s.Leader(ctx, r)
	if err != nil {
		return err
	}
	return again(leader)
}

func (s *scene) killFollower(ctx context.Context, r *localfleet.Region) error {
	leader, err := s.Leader(ctx, r)
	if err != nil {
		return err
	}
	for _, n := range r.Nodes {
		if n != leader {
			return again(n)
		}
	}
	return errors.New("the region has no followers")
}

func (s *scene) pauseLeader(ctx context.Context, r *localfleet.Region) error {
	leader, err := s.Leader(ctx, r)
	if err != nil {
		return err
	}
	if err := syscall.Kill(leader.PID(), syscall.SIGSTOP); err != nil {
		return err
	}
	return errors.Join(sleep(ctx, pause), syscall.Kill(leader.PID(), syscall.SIGCONT))
}

func (s *scene) cutLink(ctx context.Context) error {
	s.Cut(s.primary.Name, s.secondary.Name)
	defer s.Heal(s.primary.Name, s.secondary.Name)
	return sleep(ctx, pause)
}

func (s *scene) there(ctx context.Context) error { return s.Switchover(ctx, s.secondary) }

func (s *scene) thereAndBack(ctx context.Context) error {
	if err := s.there(ctx); err != nil {
		return err
	}
	return s.Switchover(ctx, s.primary)
}

// killDuringSwitchover kills the leader of the target while the primary moves. Whether it does, is all the same.
func (s *scene) killDuringSwitchover(ctx context.Context) error {
	leader, err := s.Leader(ctx, s.secondary)
	if err != nil {
		return err
	}
	moved := make(chan error, 1)
	go func() { moved <- s.Switchover(ctx, s.secondary) }()
	leader.Kill()
	err = leader.Start()
	<-moved
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// endpoints are the addresses of all nodes for clients, first those of a region. etcd's traffic compacts by the
// revision that the first one tells in its status, and ends the process if that ever goes back.
func (s *scene) endpoints(first *localfleet.Region) []string {
	other := s.primary
	if first == s.primary {
		other = s.secondary
	}
	return append(localfleet.Clients(first.Nodes), localfleet.Clients(other.Nodes)...)
}
