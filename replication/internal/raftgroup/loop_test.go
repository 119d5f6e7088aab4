package raftgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/transport"
)

// rig is a loop stepped by hand, with a log and nothing else behind it.
type rig struct {
	t    *testing.T
	loop *loop
	log  *wal.Log

	appends   []*raftpb.Message // to the log
	applies   []*raftpb.Message // to the machine
	roles     []role
	waits     []*memberWait
	sent      []*raftpb.Message
	discarded [][]byte
	retained  []*raftpb.ConfState // told to who sends checkpoints
	ticks     int
	write     uint64 // that is under way
}

func newRig(t *testing.T, voters ...uint64) *rig {
	r := &rig{t: t, log: testLog(t, vfs.NewMem())}
	r.loop = steppedLoop(t, r.log, newMailbox(), voters, neighbours{
		writer: r, applier: r, peers: r, outgoing: outgoingRig{r}, incoming: r,
	})
	r.loop.begin()
	return r
}

// steppedLoop is the loop of member 1, to be stepped by hand.
func steppedLoop(t *testing.T, log *wal.Log, mail *mailbox, voters []uint64, n neighbours) *loop {
	t.Helper()
	c, err := Config{
		ID: 1, Join: true, Log: log, Machine: &machine{}, FS: pebblefs.New(vfs.NewMem()), StagingDir: "s",
		Transport: noTransport{}, Directory: numbered("n"), Logger: quiet,
		TickInterval: 100 * time.Millisecond, ElectionTicks: 10, CompactBytes: 1 << 20, MaxUncommittedBytes: 1000,
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	initial := recovered{
		hard: raised(nil, genesisTerm, genesisIndex), conf: &raftpb.ConfState{Voters: voters}, applied: genesisIndex,
	}
	l, err := newLoop(&c, initial, mail, n, newView(initial))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// noTransport is never used.
type noTransport struct{ transport.Transport }

func (r *rig) append(m *raftpb.Message)      { r.appends = append(r.appends, m) }
func (r *rig) writing() uint64               { return r.write }
func (r *rig) apply(m *raftpb.Message)       { r.applies = append(r.applies, m) }
func (r *rig) changeRole(is role)            { r.roles = append(r.roles, is) }
func (r *rig) awaitChange(w *memberWait)     { r.waits = append(r.waits, w) }
func (r *rig) applying() uint64              { return 0 }
func (r *rig) Send(m *raftpb.Message)        { r.sent = append(r.sent, m) }
func (r *rig) Retain(conf *raftpb.ConfState) {}
func (r *rig) Discard(id []byte)             { r.discarded = append(r.discarded, id) }

// outgoingRig never has a checkpoint.
type outgoingRig struct{ *rig }

func (o outgoingRig) Tick()                         { o.ticks++ }
func (o outgoingRig) Retain(conf *raftpb.ConfState) { o.retained = append(o.retained, conf) }
func (o outgoingRig) Snapshot() (*raftpb.Snapshot, error) {
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}

// turn lets the loop turn once.
func (r *rig) turn(ticked bool) {
	r.t.Helper()
	r.loop.turn(ticked)
	if err := r.loop.valid(); err != nil {
		r.t.Error(err)
	}
}

// settle does what writer and applier do, until nothing is left to do.
func (r *rig) settle() {
	r.t.Helper()
	for len(r.appends)+len(r.applies) > 0 {
		for _, m := range r.appends {
			write := wal.Write{HardState: hardState(m), Entries: m.GetEntries()}
			if err := r.log.Append([]wal.Write{write}, true); err != nil {
				r.t.Fatal(err)
			}
			r.answer(m)
		}
		r.appends = nil
		for _, m := range r.applies {
			r.answer(m)
		}
		r.applies = nil
		r.turn(false)
	}
}

func (r *rig) answer(m *raftpb.Message) {
	for _, a := range m.GetResponses() {
		if a.GetTo() == 1 {
			r.loop.mail.deliver([]*raftpb.Message{a})
		} else {
			r.sent = append(r.sent, a)
		}
	}
}

// from hands the loop a message of another member.
func (r *rig) from(id uint64, m *raftpb.Message) {
	m.From, m.To = new(id), new(uint64(1))
	r.loop.mail.Receive([]*raftpb.Message{m}, 1)
	r.turn(false)
	r.settle()
}

// propose hands the loop a proposal of so many payloads.
func (r *rig) propose(term uint64, payloads ...string) *proposal {
	list := make([][]byte, len(payloads))
	for i, p := range payloads {
		list[i] = []byte(p)
	}
	p, err := newProposal(term, list)
	if err != nil {
		r.t.Fatal(err)
	}
	r.loop.mail.post(func(w *work) { w.proposals = append(w.proposals, p) })
	return p
}

// The only voter leads at once; the loop tells so in order, and answers several proposals of one turn with their
// places.
func TestLoopOfOne(t *testing.T) {
	r := newRig(t, 1)
	r.settle()
	if len(r.roles) == 0 || r.roles[len(r.roles)-1] != (role{term: 2, leader: 1, leading: true}) {
		t.Fatalf("became %+v", r.roles)
	}
	if r.loop.start != 2 || !r.loop.mayAnswerReads() {
		t.Errorf("term begins at %d", r.loop.start)
	}
	first, second, stale := r.propose(2, "a", "b"), r.propose(2, "c"), r.propose(1, "d")
	r.turn(false)
	if p := <-first.reply; p.first != 3 || p.err != nil {
		t.Errorf("the first is at %d, %v", p.first, p.err)
	}
	if p := <-second.reply; p.first != 5 || p.err != nil {
		t.Errorf("the second is at %d, %v", p.first, p.err)
	}
	if p := <-stale.reply; !errors.Is(p.err, ErrNotLeader) {
		t.Errorf("one of a former term: %v", p.err)
	}
	read := &read{ctx: context.Background(), reply: make(chan uint64, 1)}
	r.settle()
	r.loop.mail.read(read)
	r.turn(false)
	if index := <-read.reply; index != 5 {
		t.Errorf("read at %d", index)
	}
}

// elect makes r the leader, with the votes of others, of 2 if none are named, and returns its term.
func (r *rig) elect(others ...uint64) uint64 {
	r.t.Helper()
	if len(others) == 0 {
		others = []uint64{2}
	}
	for range 100 {
		if r.loop.leading {
			return r.loop.term
		}
		r.turn(true)
		r.settle()
		for i := 0; i < len(r.sent); i++ { // an answer has the loop send more
			m := r.sent[i]
			asks := m.GetType() == raftpb.MsgPreVote || m.GetType() == raftpb.MsgVote
			if asks && slices.Contains(others, m.GetTo()) {
				kind := raftpb.MsgPreVoteResp
				if m.GetType() == raftpb.MsgVote {
					kind = raftpb.MsgVoteResp
				}
				r.from(m.GetTo(), &raftpb.Message{Type: kind.Enum(), Term: new(m.GetTerm())})
			}
		}
		r.sent = nil
	}
	r.t.Fatal("never elected")
	return 0
}

// A leader that cannot reach a quorum takes what fits, answers no read, and steps down, which it says in order.
func TestLoopWithoutQuorum(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	term := r.elect()
	read := &read{ctx: context.Background(), reply: make(chan uint64, 1)}
	r.loop.mail.read(read)
	big := string(bytes.Repeat([]byte("x"), 600))
	taken, refused := r.propose(term, big), r.propose(term, big, big)
	r.turn(false)
	if p := <-taken.reply; p.err != nil {
		t.Error(p.err)
	}
	if p := <-refused.reply; !errors.Is(p.err, ErrBusy) {
		t.Errorf("more than fits: %v", p.err)
	}
	if members := r.loop.progress(); len(members) != 3 || !members[1].Active {
		t.Errorf("knows %v", members)
	}
	for range 3 * r.loop.electionTicks {
		r.turn(true)
		r.settle()
	}
	if r.loop.leading || r.loop.start != 0 || r.roles[len(r.roles)-1].leading {
		t.Errorf("leads on, and told %+v", r.roles)
	}
	if len(read.reply) != 0 || r.loop.progress() != nil {
		t.Error("answers without a quorum")
	}
	if p := r.propose(term, "x"); true {
		r.turn(false)
		if got := <-p.reply; !errors.Is(got.err, ErrNotLeader) {
			t.Error(got.err)
		}
	}
	if r.ticks == 0 {
		t.Error("no time passes for checkpoints")
	}
	if n := len(r.retained); n == 0 || r.retained[n-1] != nil {
		t.Errorf("sends checkpoints on, to %v", r.retained)
	}
}

// Whoever is no member any more is sent no checkpoint.
func TestLoopEndsSendingToWhoWasRemoved(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	conf := r.loop.applyChange(&raftpb.ConfChangeV2{
		Changes: []*raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeRemoveNode.Enum(), NodeId: new(uint64(3))}},
	})
	if n := len(r.retained); n == 0 || r.retained[n-1] != conf || peers.IsMember(conf, 3) {
		t.Errorf("sends to %v, members are %v", r.retained, conf)
	}
}

// A membership change is put before the applier no later than its entry, and one that cannot be is refused.
func TestLoopTakesAChange(t *testing.T) {
	r := newRig(t, 1)
	r.settle()
	for i, change := range []struct {
		id   uint64
		want error
	}{{0, ErrMembership}, {7, nil}} {
		cc := &raftpb.ConfChangeV2{
			Changes: []*raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: new(change.id)}},
		}
		p, wait, err := newChange(Basis{Term: 2, Conf: &raftpb.ConfState{Voters: []uint64{1}}}, cc)
		if err != nil {
			t.Fatal(err)
		}
		r.loop.mail.post(func(w *work) { w.proposals = append(w.proposals, p) })
		r.turn(false)
		if got := <-p.reply; !errors.Is(got.err, change.want) {
			t.Errorf("change %d: %v", i, got.err)
		}
		if change.want == nil && (len(r.waits) != 1 || r.waits[0] != wait || wait.index != 3 || wait.term != 2) {
			t.Errorf("waits: %v", r.waits)
		}
	}
}

// A snapshot that raft has no use for is discarded; one that it takes goes to the log, and is not.
func TestLoopDiscardsUnusedSnapshots(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	offer := func(id string, index uint64) *raftpb.Message {
		conf := &raftpb.ConfState{Voters: []uint64{1, 2, 3}}
		return &raftpb.Message{
			Type: raftpb.MsgSnap.Enum(), Term: new(uint64(2)), From: new(uint64(2)), To: new(uint64(1)),
			Snapshot: &raftpb.Snapshot{
				Data:     []byte(id),
				Metadata: &raftpb.SnapshotMetadata{Index: new(index), Term: new(uint64(2)), ConfState: conf},
			},
		}
	}
	for _, m := range []*raftpb.Message{offer("old", genesisIndex), offer("new", 9)} {
		r.loop.mail.Receive([]*raftpb.Message{m}, 1)
		r.turn(false)
	}
	if fmt.Sprintf("%s", r.discarded) != "[old]" {
		t.Errorf("discarded %s", r.discarded)
	}
	taken := 0
	for _, m := range r.appends {
		if m.GetSnapshot() != nil {
			taken++
		}
	}
	if taken != 1 {
		t.Errorf("%d snapshots went to the log", taken)
	}
}

// A transfer ends when somebody else leads, and one that cannot be is refused.
func TestLoopTransfers(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	transfer := func(to uint64) chan error {
		x := &leaderTransfer{to: to, reply: make(chan error, 1)}
		r.loop.mail.transfer(x)
		r.turn(false)
		return x.reply
	}
	if err := <-transfer(2); !errors.Is(err, ErrNotLeader) {
		t.Errorf("by a follower: %v", err)
	}
	term := r.elect()
	if err := <-transfer(9); !errors.Is(err, ErrTransfer) {
		t.Errorf("to a stranger: %v", err)
	}
	if err := <-transfer(1); err != nil {
		t.Errorf("to itself: %v", err)
	}
	to2, to3 := transfer(2), transfer(3)
	if len(to3) != 0 {
		t.Error("answered before anybody took over")
	}
	if err := <-to2; !errors.Is(err, ErrTransfer) {
		t.Errorf("to one who was passed over: %v", err)
	}
	r.from(3, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(term + 1)})
	if err := <-to3; err != nil {
		t.Errorf("to the one who leads: %v", err)
	}
}
