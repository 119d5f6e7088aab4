package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

func TestGroupsOfAllSizes(t *testing.T) {
	for _, voters := range []int{1, 3, 5, 7} {
		t.Run(fmt.Sprint(voters), func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				c := newCluster(t, voters).startAll()
				defer c.close()
				for i := range 20 {
					c.write(fmt.Sprint("w", i))
				}
				c.converge()
			})
		})
	}
}

func TestSingleMemberLeadsAtOnce(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		defer c.close()
		for range 3 {
			began := time.Now()
			m := c.start(1)
			<-m.leads
			if waited := time.Since(began); waited > 0 {
				t.Errorf("the only member led after %v", waited)
			}
			c.write("x")
			c.crash(1)
		}
	})
}

func TestProposeTellsIndexes(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		l := c.leader()
		term := l.group.Status().Term
		var running sync.WaitGroup
		for i := range 20 {
			running.Go(func() {
				payloads := make([][]byte, i%3+1)
				for j := range payloads {
					payloads[j] = fmt.Appendf(nil, "%d/%d", i, j)
				}
				first, err := l.group.Propose(t.Context(), term, payloads)
				if err != nil {
					t.Error(err)
				}
				for j := range payloads {
					want := first + uint64(j)
					c.await("apply", func() bool { return l.group.Applied() >= want })
					if at := c.history.where(fmt.Sprintf("%d/%d", i, j)); len(at) != 1 || at[0] != want {
						t.Errorf("payload %d/%d is at %v, told %d", i, j, at, want)
					}
				}
			})
		}
		running.Wait()
	})
}

func TestProposeRefusals(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.tune = func(config *Config) { config.MaxUncommittedBytes = 1000 }
		c.startAll()
		defer c.close()
		l := c.leader()
		term := l.group.Status().Term
		x := [][]byte{make([]byte, 600)}
		for _, m := range c.members {
			if _, err := m.group.Propose(t.Context(), term-1, x); !errors.Is(err, ErrNotLeader) {
				t.Errorf("proposal for a former term: %v", err)
			}
			if _, err := m.group.Propose(t.Context(), term, x); m != l && !errors.Is(err, ErrNotLeader) {
				t.Errorf("proposal at a follower: %v", err)
			}
		}
		c.converge()
		for id, m := range c.members {
			if m != l {
				c.stop(id)
			}
		}
		for range 2 {
			_, _ = l.group.Propose(t.Context(), term, x)
		}
		if _, err := l.group.Propose(t.Context(), term, x); !errors.Is(err, ErrBusy) {
			t.Errorf("proposal beyond the limit: %v", err)
		}
		c.await("the leader to step down", func() bool { return !l.group.Status().IsLeader })
		if _, err := l.group.Propose(t.Context(), term, x); !errors.Is(err, ErrNotLeader) {
			t.Errorf("proposal without a quorum: %v", err)
		}
		c.stop(l.id)
		if _, err := l.group.Propose(t.Context(), term, x); !errors.Is(err, ErrStopped) {
			t.Errorf("proposal at a stopped member: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.group.Propose(ctx, term, x); !errors.Is(err, context.Canceled) {
			t.Errorf("proposal with an ended context: %v", err)
		}
	})
}
