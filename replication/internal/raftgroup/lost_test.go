package raftgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// appendsTo counts the appends to a member since the last call.
func (r *rig) appendsTo(id uint64) (count int, last *raftpb.Message) {
	for _, m := range r.sent {
		if m.GetType() == raftpb.MsgApp && m.GetTo() == id {
			count, last = count+1, m
		}
	}
	r.sent = nil
	return count, last
}

// A leader does not answer a member that refuses what it had acknowledged: it asks again with the next heartbeat, and
// says what the member had acknowledged.
func TestLoopPacesAForgetfulMember(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	term := r.elect()
	last := r.log.LastIndex()
	r.from(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(last)})
	r.loop.mail.ReportUnreachable(2) // it is started again
	r.turn(false)
	r.sent = nil
	refuse := func() {
		r.from(2, &raftpb.Message{
			Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(last), Reject: new(true),
			RejectHint: new(uint64(genesisIndex)), LogTerm: new(uint64(genesisTerm)),
		})
	}
	for range 100 {
		refuse()
	}
	if n, _ := r.appendsTo(2); n > 1 {
		t.Errorf("%d appends in answer to 100 refusals", n)
	}
	if members := r.loop.progress(); !members[2].Lost || members[3].Lost {
		t.Errorf("knows %+v", members)
	}
	r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(term)})
	n, m := r.appendsTo(2)
	if n != 1 || len(m.GetContext()) != matchContextBytes ||
		binary.LittleEndian.Uint64(m.GetContext()) != last {
		t.Errorf("%d appends after a heartbeat, the last says %x", n, m.GetContext())
	}
	// A refusal of what was never acknowledged is raft's.
	r.from(3, &raftpb.Message{
		Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(last - 1), Reject: new(true),
		RejectHint: new(uint64(0)),
	})
	if members := r.loop.progress(); members[3].Lost {
		t.Errorf("knows %+v", members)
	}
	// One that has it after all has lost nothing.
	r.from(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(last)})
	if r.loop.progress()[2].Lost {
		t.Error("has it and is called lost")
	}
}

// A member whose log lacks what its leader knows it to have stops, and says what happened and what to do.
func TestLoopMissesItsOwnEntries(t *testing.T) {
	match := binary.LittleEndian.AppendUint64(nil, 207)
	for _, test := range []struct {
		name  string
		m     *raftpb.Message
		stops bool
	}{
		{"commit", &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Commit: new(uint64(207))}, true},
		{"what it has", &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Commit: new(uint64(genesisIndex))}, false},
		{"acknowledged", &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), Index: new(uint64(207)), LogTerm: new(uint64(4)), Context: match}, true},
		{"a gap", &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), Index: new(uint64(207)), LogTerm: new(uint64(4))}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 1, 2, 3)
			test.m.Term = new(uint64(4))
			r.from(2, test.m)
			if err := r.loop.broken; errors.Is(err, ErrAcknowledgedLost) != test.stops {
				t.Fatalf("broken: %v", err)
			} else if test.stops && (!strings.Contains(err.Error(), "entry 207") ||
				!strings.Contains(err.Error(), "n2") || !strings.Contains(err.Error(), "add it anew")) {
				t.Errorf("says %q", err)
			}
			if test.stops {
				r = newRig(t, 1, 2, 3)
				r.from(3, &raftpb.Message{
					Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(9)), Commit: new(uint64(genesisIndex))})
				r.from(2, test.m)
				if r.loop.broken != nil {
					t.Errorf("stops for a leader of a former term: %v", r.loop.broken)
				}
			}
		})
	}
}

// A disk that forgot what it had acknowledged: the member stops with one line, the others go on.
func TestForgetfulDisk(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3).startAll()
		defer c.close()
		l := c.leader()
		id := l.id%3 + 1
		m := c.members[id]
		old := m.disk.CrashClone(vfs.CrashCloneCfg{})
		for i := range 20 {
			c.write(fmt.Sprint(i))
		}
		c.converge()
		c.crash(id)
		m.disk = old
		c.start(id)
		select {
		case err := <-m.fatal:
			if !errors.Is(err, ErrAcknowledgedLost) {
				t.Errorf("stopped because of %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("goes on")
		}
		c.end(m)
		c.write("without it")
	})
}
