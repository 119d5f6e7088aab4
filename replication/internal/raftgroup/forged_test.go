package raftgroup

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// TestThreeMessagesStopNobody: whoever gets at the port, and speaks in the name of a member, stops no node, and none
// that is started again.
func TestThreeMessagesStopNobody(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		defer c.close()
		c.tune = func(config *Config) {
			id := config.ID
			config.Ask = func(_ context.Context, member, at uint64) (Account, error) {
				return c.members[member].group.Account(id, at), nil
			}
		}
		c.startAll()
		c.write("before")
		c.converge()
		term := c.leader().group.Status().Term
		for _, m := range forgeries(term) {
			if m.GetType() == raftpb.MsgSnap || m.GetEntries() != nil {
				continue // these name indexes of a log that is shorter than this one, and are for the loop's own tests
			}
			for id, to := range c.members {
				from := id%3 + 1
				m := proto.Clone(m).(*raftpb.Message) // it belongs to whoever receives it
				m.From, m.To = new(from), new(id)
				to.group.mail.Receive([]*raftpb.Message{m}, 1)
				time.Sleep(time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		c.write("meanwhile")
		c.converge()
		if after := c.leader().group.Status().Term; after > term+1000 {
			t.Errorf("driven from term %d to %d", term, after)
		}
		for id := range c.members {
			c.crash(id)
		}
		c.startAll()
		c.write("afterwards")
		c.converge()
	})
}

// FuzzDoor gives a node any messages at all: it must not stop, and what it has on disk must make sense.
func FuzzDoor(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		script := make([]byte, 200)
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRig(t, 1, 2, 3)
		r.denying()
		z := forger{script: script, loop: r.loop}
		if z.byte()%2 == 0 {
			r.elect()
		}
		for len(z.script) > 0 && len(r.sent) < 1000 {
			from, m := 2+uint64(z.byte()%3), z.message()
			if m.GetSnapshot() == nil { // the rig has no state to install
				r.from(from, m)
			} else if r.loop.door.refuses(m, 1, r.loop.node.BasicStatus(), r.loop.term) {
				continue
			}
			r.loop.doubts.asked = time.Time{}
			if z.byte()%8 == 0 {
				r.turn(true)
				r.settle()
			}
			if r.loop.broken != nil {
				t.Fatalf("stops: %v", r.loop.broken)
			}
		}
		hard, last := r.log.HardState(), r.log.LastIndex()
		if hard.GetTerm() > termCeiling(time.Now(), 2) || hard.GetCommit() > last || last > 1000 {
			t.Errorf("has on disk %v, and entries up to %d", hard, last)
		}
	})
}

// forger makes messages of bytes: their numbers are near those that a node has, or at an end.
type forger struct {
	script []byte
	loop   *loop
}

func (z *forger) byte() (b byte) {
	if len(z.script) > 0 {
		b, z.script = z.script[0], z.script[1:]
	}
	return b
}

func (z *forger) number() uint64 {
	b := z.byte()
	off := uint64(b>>3) - 8
	switch b & 7 {
	case 0:
		return z.loop.term + off
	case 1:
		return z.loop.handed + off
	case 2:
		return z.loop.commit + off
	case 3:
		return z.loop.door.asked + off
	case 4:
		return math.MaxUint64 - uint64(b>>3)
	case 5:
		return 1 << (b >> 2)
	case 6:
		return 0
	default:
		return z.loop.term
	}
}

func (z *forger) message() *raftpb.Message {
	kind := raftpb.MessageType(z.byte() % 24)
	m := &raftpb.Message{
		Type: &kind, Term: new(z.loop.term), Index: new(z.number()), LogTerm: new(z.number()), Commit: new(z.number()),
		RejectHint: new(z.number()), Reject: new(z.byte()%2 == 0), From: new(uint64(2)), To: new(uint64(1)),
	}
	if b := z.byte(); b%4 == 0 {
		m.Term = new(z.number())
	}
	if b := z.byte(); b%4 == 0 {
		m.Context = make([]byte, b/4)
		copy(m.Context, z.script)
	}
	for range z.byte() % 4 {
		e := &raftpb.Entry{Term: new(m.GetTerm()), Index: new(m.GetIndex() + 1 + uint64(len(m.Entries)))}
		if b := z.byte(); b%4 == 0 {
			e.Term, e.Index = new(z.number()), new(z.number())
			e.Type = raftpb.EntryType(b / 4 % 3).Enum()
		}
		m.Entries = append(m.Entries, e)
	}
	if kind == raftpb.MsgSnap {
		m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			Index: new(z.number()), Term: new(z.number()),
			ConfState: &raftpb.ConfState{Voters: []uint64{z.number(), z.number()}, Learners: []uint64{z.number()}},
		}}
	}
	return m
}
