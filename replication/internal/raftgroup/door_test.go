package raftgroup

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// forgeries are messages that no member sends, for a follower in a term and with a log as newRig's: each of them once
// stopped a node, or changed it for good.
func forgeries(term uint64) map[string]*raftpb.Message {
	entry := func(index, term uint64) *raftpb.Entry { return &raftpb.Entry{Index: new(index), Term: new(term)} }
	at := func(kind raftpb.MessageType) *raftpb.Message {
		return &raftpb.Message{
			Type: kind.Enum(), Term: new(term), Index: new(uint64(genesisIndex)), LogTerm: new(uint64(genesisTerm)),
		}
	}
	type message = raftpb.Message
	with := func(m *message, change func(*message)) *message {
		change(m)
		return m
	}
	sends := func(entries ...*raftpb.Entry) *message {
		return with(at(raftpb.MsgApp), func(m *message) { m.Entries = entries })
	}
	snapshot := func(index, term uint64, conf *raftpb.ConfState) *raftpb.Message {
		return with(at(raftpb.MsgSnap), func(m *message) {
			m.Snapshot = &raftpb.Snapshot{
				Data:     make([]byte, 16),
				Metadata: &raftpb.SnapshotMetadata{Index: new(index), Term: new(term), ConfState: conf},
			}
		})
	}
	change := entry(genesisIndex+1, term)
	change.Type, change.Data = raftpb.EntryConfChangeV2.Enum(), []byte("no change")
	list := map[string]*raftpb.Message{
		"a commit beyond the log": with(at(raftpb.MsgHeartbeat), func(m *message) {
			m.Commit = new(uint64(1 << 40))
		}),
		"entries with a gap": with(at(raftpb.MsgApp), func(m *message) {
			m.Entries, m.Commit = []*raftpb.Entry{entry(genesisIndex+9, term)}, new(uint64(genesisIndex+1))
		}),
		"entries of a falling term":        sends(entry(genesisIndex+1, term), entry(genesisIndex+2, 1)),
		"entries of a later term":          sends(entry(genesisIndex+1, term+5)),
		"a change of members that is none": sends(change),
		"a log that begins anew": with(at(raftpb.MsgApp), func(m *message) {
			m.Index, m.LogTerm = nil, nil
		}),
		"another entry where one is known": with(at(raftpb.MsgApp), func(m *message) {
			m.LogTerm = new(term + 1)
		}),
		"an acknowledgement that is not one": with(at(raftpb.MsgApp), func(m *message) {
			m.Context = binary.LittleEndian.AppendUint64(nil, 1<<40)
		}),
		"a leader without a log": with(at(raftpb.MsgApp), func(m *message) { m.Context = make([]byte, 16) }),
		"a vote of no term":      with(at(raftpb.MsgVote), func(m *message) { m.Term = nil }),
		"an append of no term":   with(at(raftpb.MsgApp), func(m *message) { m.Term = nil }),
		"a read in a term": with(at(raftpb.MsgReadIndex), func(m *message) {
			m.Entries = []*raftpb.Entry{{}}
		}),
		"a read of nothing":     with(at(raftpb.MsgReadIndex), func(m *message) { m.Term = nil }),
		"a snapshot of nothing": at(raftpb.MsgSnap),
		"a snapshot with voters twice": snapshot(9, 2, &raftpb.ConfState{
			Voters: []uint64{1, 2, 2}, Learners: []uint64{2}}),
		"a snapshot without voters":    snapshot(9, 2, &raftpb.ConfState{Learners: []uint64{1}}),
		"a snapshot of the last entry": snapshot(math.MaxUint64, 2, &raftpb.ConfState{Voters: []uint64{1, 2, 3}}),
		"a snapshot of a later term":   snapshot(9, term+1, &raftpb.ConfState{Voters: []uint64{1, 2, 3}}),
		"an order to stand in any term": with(at(raftpb.MsgTimeoutNow), func(m *message) {
			m.Term = new(term + 100)
		}),
		"a confirmation of some bytes": with(at(raftpb.MsgHeartbeatResp), func(m *message) {
			m.Context = []byte{1}
		}),
	}
	for _, kind := range []raftpb.MessageType{
		raftpb.MsgHup, raftpb.MsgBeat, raftpb.MsgProp, raftpb.MsgUnreachable, raftpb.MsgSnapStatus,
		raftpb.MsgCheckQuorum, raftpb.MsgTransferLeader, raftpb.MsgStorageAppend, raftpb.MsgStorageAppendResp,
		raftpb.MsgStorageApply, raftpb.MsgStorageApplyResp, raftpb.MsgForgetLeader,
	} {
		list["local: "+kind.String()] = at(kind)
	}
	for _, kind := range []raftpb.MessageType{
		raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgReadIndexResp, raftpb.MsgTimeoutNow, raftpb.MsgSnap,
	} {
		for _, last := range []uint64{math.MaxUint64, math.MaxUint64 - 1, 1 << 63} {
			list[kind.String()+" of a last term"] = with(at(kind), func(m *message) {
				m.Term, m.Reject, m.Context = new(last), new(true), []byte("CampaignTransfer")
			})
		}
	}
	return list
}

// denying makes r's members say that they have said nothing.
func (r *rig) denying() {
	r.loop.doubts.life = &atOnce{r.t.Context()}
	r.loop.doubts.ask = func(context.Context, uint64, uint64) (Account, error) {
		return Account{Whole: true, Leads: r.loop.term, Ends: math.MaxUint64}, nil
	}
	r.loop.doubts.mail, r.loop.doubts.now = r.loop.mail, time.Now
	r.loop.doubts.log, r.loop.doubts.names = quiet, numbered("n")
}

// atOnce spawns nothing.
type atOnce struct{ ctx context.Context }

func (a *atOnce) Context() context.Context { return a.ctx }
func (a *atOnce) Spawn(f func()) bool      { f(); return true }

// unharmed reports what a message did to a node that must not do anything.
func (r *rig) unharmed(term, last uint64) {
	r.t.Helper()
	r.loop.doubts.asked = time.Time{}
	for range 3 {
		r.turn(false)
		r.settle()
	}
	if r.loop.broken != nil {
		r.t.Fatalf("stops: %v", r.loop.broken)
	}
	if l := r.loop; l.term != term || r.log.HardState().GetTerm() > term || r.log.LastIndex() != last {
		r.t.Errorf("is at entry %d of term %d (on disk %d), was at %d of %d",
			r.log.LastIndex(), l.term, r.log.HardState().GetTerm(), last, term)
	}
}

// TestMessagesThatNoMemberSends neither stop a node nor change its term or log: as a follower, as a leader.
func TestMessagesThatNoMemberSends(t *testing.T) {
	for name, m := range forgeries(2) {
		t.Run("follower/"+name, func(t *testing.T) {
			r := newRig(t, 1, 2, 3)
			r.denying()
			r.from(2, &raftpb.Message{
				Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(2)), Commit: new(uint64(genesisIndex))})
			r.loop.view.applied.Store(genesisIndex)
			last := r.log.LastIndex()
			r.from(3, m)
			r.unharmed(2, last)
		})
	}
	for name, m := range forgeries(2) {
		t.Run("leader/"+name, func(t *testing.T) {
			r := newRig(t, 1, 2, 3)
			r.denying()
			if term := r.elect(); m.GetTerm() == 2 {
				m.Term = new(term)
			}
			r.settle()
			term, last := r.loop.term, r.log.LastIndex()
			r.from(3, m)
			r.unharmed(term, last)
		})
	}
}

// Two followers that confirm what nobody asked for do not stop a leader: raft takes their number as it is.
func TestConfirmationsOfWhatWasNotAsked(t *testing.T) {
	for _, at := range []uint64{1, math.MaxUint64} {
		r := newRig(t, 1, 2, 3)
		term := r.elect()
		r.settle()
		r.from(2, &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: new(term), Index: new(r.log.LastIndex())})
		for id := range uint64(2) {
			r.from(2+id, &raftpb.Message{
				Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(term),
				Context: binary.LittleEndian.AppendUint64(nil, at),
			})
		}
		read := &read{ctx: t.Context(), reply: make(chan uint64, 1)}
		r.loop.mail.read(read)
		r.sent = nil
		r.turn(false)
		var asked []byte
		for _, m := range r.sent {
			if m.GetType() == raftpb.MsgHeartbeat {
				asked = m.GetContext()
			}
		}
		if len(read.reply) != 0 {
			t.Error("a read is answered that nobody confirmed")
		}
		r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), Term: new(term), Context: asked})
		if len(read.reply) != 1 {
			t.Error("a read is not answered that was confirmed")
		}
	}
}

// A term that elections lead to is taken, however long a node was away, and the highest that is taken leaves room.
func TestTermCeiling(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ceiling := termCeiling(now, 2)
	if ceiling < 1<<50 || ceiling > 1<<62 {
		t.Errorf("at %d", ceiling)
	}
	if later := termCeiling(now.Add(time.Second), ceiling); later <= ceiling {
		t.Errorf("does not rise: %d after %d", later, ceiling)
	}
	if wrong := termCeiling(time.Unix(0, 0), 2); wrong < 1<<50 {
		t.Errorf("at %d by a clock that is wrong", wrong)
	}
	for _, high := range []uint64{1 << 63, math.MaxUint64 - 1, math.MaxUint64} { // where a former version let it get
		if c := termCeiling(now, high); c < high {
			t.Errorf("a node at %d takes %d", high, c)
		}
	}
}

// A word that would stop a node is believed if its sender, asked, stands by it, or cannot be asked; not otherwise, nor
// as long as he does not answer.
func TestWordsAreAskedBack(t *testing.T) {
	for name, test := range map[string]struct {
		account Account
		err     error
		stops   bool
	}{
		"stands by it":      {account: Account{Whole: true, Leads: 4, Match: 207}, stops: true},
		"former version":    {account: Account{Match: 207}, stops: true},
		"does not":          {account: Account{Whole: true, Leads: 4, Match: genesisIndex}},
		"does not, former":  {account: Account{Match: genesisIndex}},
		"leads another":     {account: Account{Whole: true, Leads: 3, Match: 207}},
		"is not reached":    {err: errors.New("no")},
		"does not lead now": {account: Account{Whole: true}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 2, 3)
			r.denying()
			asked := uint64(0)
			r.loop.doubts.ask = func(_ context.Context, member, _ uint64) (Account, error) {
				asked = member
				return test.account, test.err
			}
			r.from(2, &raftpb.Message{
				Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(4)), Commit: new(uint64(genesisIndex))})
			r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(4)), Commit: new(uint64(207))})
			r.turn(false)
			if asked != 2 || errors.Is(r.loop.broken, ErrAcknowledgedLost) != test.stops {
				t.Errorf("asked %d, and stops: %v", asked, r.loop.broken)
			}
		})
	}
}

// A node that lost its disk's term with its log is behind the term of its leader, and takes nothing of a message that
// is asked about: the leader's answer, in the term of the message or a later one, stops it.
func TestANodeThatIsTermsBehindBelievesItsLeader(t *testing.T) {
	for leads, stops := range map[uint64]bool{0: false, 1: false, 3: false, 4: true, 5: true} {
		r := newRig(t, 1, 2, 3)
		r.denying()
		r.loop.doubts.ask = func(context.Context, uint64, uint64) (Account, error) {
			return Account{Whole: true, Leads: leads, Match: 207}, nil
		}
		r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(4)), Commit: new(uint64(207))})
		r.turn(false)
		if r.loop.term != genesisTerm || errors.Is(r.loop.broken, ErrAcknowledgedLost) != stops {
			t.Errorf("in term %d, asked of one that leads term %d, stops: %v", r.loop.term, leads, r.loop.broken)
		}
	}
}

// later keeps what is spawned.
type later struct {
	ctx context.Context
	f   []func()
}

func (a *later) Context() context.Context { return a.ctx }
func (a *later) Spawn(f func()) bool      { a.f = append(a.f, f); return true }

// A node that was told what would stop it takes no part in elections until it has the answer; a second question, when
// nobody answered the first, does not keep it away, and a denial ends it.
func TestANodeInDoubtTakesNoPartInElections(t *testing.T) {
	r := newRig(t, 1, 2, 3)
	r.denying()
	life, answer := &later{ctx: t.Context()}, errors.New("no")
	r.loop.doubts.life = life
	r.loop.doubts.ask = func(context.Context, uint64, uint64) (Account, error) { return Account{Whole: true}, answer }
	doubt := func() {
		r.loop.doubts.asked = time.Time{}
		r.from(2, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), Term: new(uint64(4)), Commit: new(uint64(207))})
	}
	settle := func(err error) {
		answer = err
		for _, f := range life.f {
			f()
		}
		life.f = nil
		r.turn(false)
	}
	part := func(in string, want bool) {
		t.Helper()
		r.sent = nil
		for _, kind := range []raftpb.MessageType{raftpb.MsgPreVote, raftpb.MsgVote} {
			r.from(3, &raftpb.Message{
				Type: kind.Enum(), Term: new(r.loop.term + 1), Index: new(uint64(300)), LogTerm: new(r.loop.term)})
		}
		for range 3 * r.loop.electionTicks {
			r.turn(true)
			r.settle()
		}
		told := map[raftpb.MessageType]bool{}
		for _, m := range r.sent {
			told[m.GetType()] = true
		}
		for _, kind := range []raftpb.MessageType{raftpb.MsgPreVoteResp, raftpb.MsgVoteResp, raftpb.MsgPreVote} {
			if told[kind] != want {
				t.Errorf("%s: %s is sent: %t", in, kind, told[kind])
			}
		}
	}
	doubt()
	part("in doubt", false)
	settle(errors.New("no"))
	part("nobody answered", true)
	doubt()
	part("and is asked again", true)
	settle(nil)
	part("denied", true)
	doubt()
	if len(life.f) != 1 {
		t.Fatalf("in term %d, asks %d", r.loop.term, len(life.f))
	}
	part("in doubt anew", false)
}
