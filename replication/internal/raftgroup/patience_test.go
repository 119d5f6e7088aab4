package raftgroup

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// That an operator had this node lead says nothing of how slow the others are.
func TestAMachineThatWasSlowOnceHangsWhereAnOperatorHadItLead(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c, machines := hangingCluster(t)
		defer c.close()
		c.write("before")
		l := c.leader()
		once := c.members[l.id%3+1]
		machines[once.id].hold()
		c.write("it is slow there, once, and nowhere else")
		time.Sleep(7 * electionTime)
		machines[once.id].release()
		c.converge()
		c.await("it goes on", func() bool { return once.group.Status().MachineHung == 0 })
		time.Sleep(electionTime)
		if err := l.group.TransferLeader(t.Context(), once.id); err != nil {
			t.Fatal(err)
		}
		c.await("it leads", func() bool { return c.leader() == once })
		machines[once.id].hold()
		defer machines[once.id].release()
		data := [][]byte{[]byte("it hangs")}
		if _, err := once.group.Propose(t.Context(), once.group.Status().Term, data); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		c.await("another one leads", func() bool { return c.leader() != once })
		if took := time.Since(began); took > 6*electionTime {
			t.Errorf("it took %v", took)
		}
	})
}
