package raftgroup

import (
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Who looks at a group waits for nothing, also where the loop of a leader waits for the disk; what it showed of the
// members counts for an election timeout.
func TestWhoLooksAtAGroupDoesNotWait(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		l := c.leader()
		hangs := make(chan struct{})
		release := sync.OnceFunc(func() { close(hangs) })
		defer release()
		look := func(when string) Status {
			t.Helper()
			seen := make(chan Status, 1)
			go func() { seen <- l.group.Glimpse() }()
			select {
			case s := <-seen:
				return s
			case <-time.After(time.Minute):
				t.Fatalf("%s: it waits", when)
				return Status{}
			}
		}
		if s := look("it leads"); !s.IsLeader || len(s.Progress) != 3 || !s.Progress[l.id].Active {
			t.Errorf("it leads: %+v", s)
		}
		l.group.mail.call(func(*loop) { <-hangs })
		virtual.Wait()
		if s := look("it stands still"); !s.IsLeader || len(s.Progress) != 3 {
			t.Errorf("it stands still: %+v", s)
		}
		c.await("forget what was shown", func() bool { return look("later").Progress == nil })
		if s := look("later"); !s.IsLeader || s.Leader != l.id {
			t.Errorf("it knows of no other leader yet: %+v", s)
		}
		release()
		c.await("go on", func() bool {
			s := look("it goes on")
			return s.Leader != 0 && s.IsLeader == (s.Progress != nil)
		})
		for m := range c.members {
			if s := c.members[m].group.Glimpse(); s.IsLeader && len(s.Progress) != 3 {
				t.Errorf("%+v", s)
			}
		}
	})
}
