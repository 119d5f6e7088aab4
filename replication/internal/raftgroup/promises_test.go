package raftgroup

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// durably is what a power cut would leave at the moment at which a message leaves.
type durably struct {
	term, vote, last uint64
}

// leads checks what everything promises that a leader of a term says: that this member will never be another one's
// leader of that term, in no later life.
func (d durably) leads(m *raftpb.Message) error {
	if d.term > m.GetTerm() || d.term == m.GetTerm() && d.vote == m.GetFrom() {
		return nil
	}
	return errors.New("it may lead this term once more")
}

func nothing(durably, *raftpb.Message) error { return nil }

// promised says for each kind of message what must be on disk when it leaves.
var promised = map[raftpb.MessageType]func(d durably, m *raftpb.Message) error{
	raftpb.MsgVote:          durably.leads,
	raftpb.MsgApp:           durably.leads,
	raftpb.MsgHeartbeat:     durably.leads,
	raftpb.MsgTimeoutNow:    durably.leads,
	raftpb.MsgReadIndexResp: durably.leads,
	raftpb.MsgSnap:          durably.leads,
	raftpb.MsgVoteResp: func(d durably, m *raftpb.Message) error {
		if m.GetReject() || d.term > m.GetTerm() || d.term == m.GetTerm() && d.vote == m.GetTo() {
			return nil
		}
		return errors.New("it may vote once more in this term")
	},
	raftpb.MsgAppResp: func(d durably, m *raftpb.Message) error {
		if d.term >= m.GetTerm() && (m.GetReject() || d.last >= m.GetIndex()) {
			return nil
		}
		return errors.New("it may lack what it acknowledges")
	},
	raftpb.MsgPreVote:       nothing, // asks what would be
	raftpb.MsgPreVoteResp:   nothing, // says what would be
	raftpb.MsgReadIndex:     nothing, // asks
	raftpb.MsgHeartbeatResp: nothing, // says that until now no later term was heard of
}

// promiser is a member of three whose power is cut, in thought, whenever a message leaves. Its loop and its writer are
// stepped by hand: the writer only after all that may leave before has left.
type promiser struct {
	*rig
	disk   *vfs.MemFS
	writer *writer
	mail   *mailbox
	left   map[raftpb.MessageType]int
}

func newPromiser(t *testing.T) *promiser {
	disk := vfs.NewCrashableMem()
	log := testLog(t, disk)
	p := &promiser{
		rig: &rig{t: t, log: log}, disk: disk, mail: newMailbox(), left: make(map[raftpb.MessageType]int),
	}
	p.writer = newWriter(&Config{ID: 1, Log: log}, nil, p, p.mail, compactionOf(log, &neighbour{}, 1<<20))
	p.loop = steppedLoop(t, log, p.mail, []uint64{1, 2, 3}, neighbours{
		writer: p.writer, applier: p, peers: p, outgoing: outgoingRig{p.rig}, incoming: p,
	})
	p.loop.begin()
	return p
}

// Send cuts the power at the moment at which m leaves, and looks what is there after it.
func (p *promiser) Send(m *raftpb.Message) {
	p.t.Helper()
	p.sent = append(p.sent, m)
	p.left[m.GetType()]++
	log, err := wal.Open(wal.Options{
		FS: pebblefs.New(p.disk.CrashClone(vfs.CrashCloneCfg{})), Dir: "log", SegmentBytes: 64 << 10, Logger: quiet,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	d := durably{term: log.HardState().GetTerm(), vote: log.HardState().GetVote(), last: log.LastIndex()}
	check, ok := promised[m.GetType()]
	if !ok {
		p.t.Errorf("nobody said what %s promises", m.GetType())
	} else if err := check(d, m); err != nil {
		p.t.Errorf("%s of term %d to %d, on disk are %+v: %v", m.GetType(), m.GetTerm(), m.GetTo(), d, err)
	}
}

// settle lets the writer and the applier do what they have.
func (p *promiser) settle() {
	p.t.Helper()
	for len(p.writer.tasks.items)+len(p.applies) > 0 {
		tasks := p.writer.tasks.items
		p.writer.tasks.items = nil
		if err := p.writer.do(p.t.Context(), tasks); err != nil {
			p.t.Fatal(err)
		}
		for _, m := range p.applies {
			p.mail.deliver(m.GetResponses())
		}
		p.applies = nil
		p.turn(false)
	}
}

// hears hands the loop a message of another member.
func (p *promiser) hears(from uint64, m *raftpb.Message) {
	p.t.Helper()
	m.From, m.To = new(from), new(uint64(1))
	p.mail.Receive([]*raftpb.Message{m}, 1)
	p.turn(false)
	p.settle()
}

// follow has the member follow 2 in term 2, and vote for 3 in term 3.
func (p *promiser) follow() {
	p.t.Helper()
	entry := &raftpb.Entry{Index: new(uint64(2)), Term: new(uint64(2))}
	p.hears(2, &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), Term: new(uint64(2)), LogTerm: new(uint64(genesisTerm)),
		Index: new(uint64(genesisIndex)), Commit: new(uint64(genesisIndex)), Entries: []*raftpb.Entry{entry},
	})
	p.hears(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(2)), Commit: new(uint64(2))})
	p.mail.read(&read{ctx: p.t.Context(), reply: make(chan uint64, 1)})
	p.turn(false)
	for range 2 * p.loop.electionTicks { // 2 is gone: there is no leader any more
		p.turn(true)
	}
	p.settle()
	p.hears(3, &raftpb.Message{
		Type: raftpb.MsgPreVote.Enum(), Term: new(uint64(9)), LogTerm: new(uint64(2)), Index: new(uint64(2)),
	})
	p.hears(3, &raftpb.Message{
		Type: raftpb.MsgVote.Enum(), Term: new(uint64(9)), LogTerm: new(uint64(2)), Index: new(uint64(2)),
	})
}

// lead has the member lead a later term by the votes of others, before its writer has done anything of it, and hand
// over to 2.
func (p *promiser) lead() {
	p.t.Helper()
	for range 10 * p.loop.electionTicks {
		p.turn(true)
		for i := 0; i < len(p.sent); i++ {
			switch m := p.sent[i]; m.GetType() {
			case raftpb.MsgPreVote, raftpb.MsgVote:
				kind := raftpb.MsgPreVoteResp
				if m.GetType() == raftpb.MsgVote {
					kind = raftpb.MsgVoteResp
				}
				answer := &raftpb.Message{
					Type: kind.Enum(), Term: new(m.GetTerm()), From: new(m.GetTo()), To: new(uint64(1)),
				}
				p.mail.Receive([]*raftpb.Message{answer}, 1)
				p.turn(false)
			}
		}
		p.sent = nil
		if p.loop.leading {
			break
		}
		p.settle()
	}
	if !p.loop.leading {
		p.t.Fatal("never elected")
	}
	p.turn(true)
	p.settle()
	term, last := p.loop.term, p.log.LastIndex()
	p.hears(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(last)})
	p.hears(3, &raftpb.Message{
		Type: raftpb.MsgReadIndex.Enum(), Entries: []*raftpb.Entry{{Data: []byte("asked by 3")}},
	})
	for _, m := range p.sent {
		if m.GetType() == raftpb.MsgHeartbeat && len(m.GetContext()) > 0 && m.GetTo() == 2 {
			p.hears(2, &raftpb.Message{
				Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(term), Context: m.GetContext(),
			})
		}
	}
	p.mail.transfer(&leaderTransfer{to: 2, reply: make(chan error, 1)})
	p.turn(false)
}

// Invariant 1: what a message promises is on disk when it leaves, for every kind of message that there is. A member is
// taken through all of them, and whenever one leaves its power is cut.
func TestPromisesAreOnDisk(t *testing.T) {
	p := newPromiser(t)
	p.follow()
	p.lead()
	var missing []string
	for kind := range promised {
		if p.left[kind] == 0 && kind != raftpb.MsgSnap { // it goes another way, as the other messages of a leader
			missing = append(missing, fmt.Sprint(kind))
		}
	}
	if len(missing) > 0 {
		t.Errorf("never left: %v", missing)
	}
}
