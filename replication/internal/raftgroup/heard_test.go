package raftgroup

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// TestWhoHearsNobodyKnowsNoLeader, from one election timeout on, whatever raft still counts as the leader: up to two
// timeouts at a voter, and for ever at a learner.
func TestWhoHearsNobodyKnowsNoLeader(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		c.leader()
		c.converge()
		time.Sleep(time.Second)
		for id, m := range c.members {
			if at, lately := m.group.Heard(); !lately || time.Since(at) > 50*time.Millisecond {
				t.Errorf("member %d of a region that is well last heard %v ago, lately: %t", id, time.Since(at), lately)
			}
		}
		for _, m := range c.members {
			c.net.Isolate(m.addr)
		}
		cut := time.Now()
		time.Sleep(101 * time.Millisecond) // an election timeout
		for id, m := range c.members {
			at, lately := m.group.Heard()
			if lately || at.After(cut) || cut.Sub(at) > 50*time.Millisecond {
				t.Errorf("member %d, cut off: last heard %v ago, lately: %t", id, time.Since(at), lately)
			}
		}
		c.net.HealAll()
		c.await("everybody to hear a leader", func() bool {
			for _, m := range c.members {
				if _, lately := m.group.Heard(); !lately || m.group.Status().Leader == 0 {
					return false
				}
			}
			return true
		})
	})
}

// TestALeaderIsHeardByItsMajority: one of two followers does not matter, and who is alone hears itself.
func TestALeaderIsHeardByItsMajority(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		for _, voters := range []int{1, 3} {
			c := newCluster(t, voters).startAll()
			l := c.leader()
			for id, m := range c.members {
				if m != l && id != l.id {
					c.stop(id)
					break
				}
			}
			for range 30 {
				time.Sleep(100 * time.Millisecond)
				if at, lately := l.group.Heard(); !lately {
					t.Errorf("the leader of %d voters, most of which live, last heard %v ago", voters, time.Since(at))
				}
			}
			c.close()
		}
	})
}
