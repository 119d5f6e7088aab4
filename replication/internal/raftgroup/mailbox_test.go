package raftgroup

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Peers are held up while too much waits, and let go when the loop takes it or the group ends.
func TestReceiveHoldsUpPeers(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		m := newMailbox()
		receive := func() chan bool {
			taken := make(chan bool, 1)
			go func() { taken <- m.Receive([]*raftpb.Message{{}}, maxReceivedBytes+1) }()
			virtual.Wait()
			if err := m.valid(); err != nil {
				t.Error(err)
			}
			return taken
		}
		if !<-receive() {
			t.Error("the first was refused")
		}
		second := receive()
		if len(second) != 0 {
			t.Error("the second does not wait")
		}
		var w work
		m.take(&w)
		if len(w.received) != 1 || !<-second {
			t.Error("the second was refused")
		}
		third := receive()
		m.close()
		if <-third {
			t.Error("the third was taken after the end")
		}
		if m.Receive(nil, 1) || m.post(func(*work) { t.Error("posted") }) || m.do(func(*loop) { t.Error("done") }) {
			t.Error("takes work after the end")
		}
	})
}

// What was posted before the end is there to be taken, and wakes the loop; messages of one thread keep their order.
func TestMailboxKeepsOrder(t *testing.T) {
	m := newMailbox()
	for i := range uint64(3) {
		m.deliver([]*raftpb.Message{{Index: new(2 * i)}, {Index: new(2*i + 1)}})
	}
	m.close()
	<-m.wake
	var w work
	m.take(&w)
	for i, got := range w.local {
		if got.GetIndex() != uint64(i) {
			t.Errorf("message %d is %d", i, got.GetIndex())
		}
	}
	if len(w.local) != 6 {
		t.Errorf("%d messages", len(w.local))
	}
	w.clear()
	if m.take(&w); len(w.local) != 0 {
		t.Error("taken twice")
	}
}

// An answer that was the loop's last work counts, although the loop has ended.
func TestLastAnswerCounts(t *testing.T) {
	ended := make(chan struct{})
	close(ended)
	for range 100 {
		answer := make(chan int, 1)
		answer <- 7
		if a, ok := await(answer, ended); a != 7 || !ok {
			t.Fatalf("got %d, %t", a, ok)
		}
		if _, ok := await(answer, ended); ok {
			t.Fatal("got an answer that nobody gave")
		}
	}
}
