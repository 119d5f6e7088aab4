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
}

var faults = []fault{
	{"KillLeaderOfPrimary", func(s *scene, ctx context.Context) error { return s.killLeader(ctx, s.primary) }},
	{"KillFollowerOfPrimary", func(s *scene, ctx context.Context) error { return s.killFollower(ctx, s.primary) }},
	{"KillPrimary", func(s *scene, _ context.Context) error { return again(s.primary.Nodes...) }},
	{"KillLeaderOfSecondary", func(s *scene, ctx context.Context) error { return s.killLeader(ctx, s.secondary) }},
	{"KillSecondary", func(s *scene, _ context.Context) error { return again(s.secondary.Nodes...) }},
	{"PauseLeaderOfPrimary", func(s *scene, ctx context.Context) error { return s.pauseLeader(ctx, s.primary) }},
	{"PauseLeaderOfSecondary", func(s *scene, ctx context.Context) error { return s.pauseLeader(ctx, s.secondary) }},
	{"CutLink", (*scene).cutLink},
	{"Switchover", func(s *scene, ctx context.Context) error { return s.Switchover(ctx, s.secondary) }},
	{"SwitchoverAndBack", (*scene).thereAndBack},
	{"KillLeaderDuringSwitchover", (*scene).killDuringSwitchover},
}

// again kills nodes at once and starts them again.
func again(nodes ...*localfleet.Node) error {
	localfleet.Kill(nodes)
	return localfleet.Start(nodes)
}

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

func (s *scene) thereAndBack(ctx context.Context) error {
	if err := s.Switchover(ctx, s.secondary); err != nil {
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
