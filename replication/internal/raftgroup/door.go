package raftgroup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// errRefused says that no member sends such a message. raft, which trusts its members, panics at some of them, and a
// panic stops the node: again at every start, if what it was about is in the log by then.
var errRefused = errors.New("raftgroup: no member sends that")

// errLeftOut says that a member is not heard, because of the disk that it has.
var errLeftOut = errors.New("raftgroup: if mimir status calls it WRONG, it is of another life of the region, and " +
	"that says what to do; else the region was formed without it, and it has not said that its disk is empty: start " +
	"it with an empty data directory, and with a version that says so")

// Bounds of what a message may name. They lie far beyond what any group gets to, and leave as much room above them.
const (
	maxIndex = 1 << 62
	// termsPerSecond is how many terms there may have been in each second since 1970.
	termsPerSecond = 1 << 30
	// termStep is by how much a term may be above this node's own in any case.
	termStep = 1 << 20
	// anyTime is a time in seconds which has passed: a clock that shows less is wrong.
	anyTime = 1_700_000_000
	// confirmationBytes is the size of what a heartbeat asks to be confirmed.
	confirmationBytes = 8
	// maxContextBytes bounds what goes with a message and comes back with its answer.
	maxContextBytes = 64
)

// termCeiling is the highest term that a node which is at this one takes from a message. A jump does no harm by itself,
// since terms are only compared; but there must be terms left above. So the ceiling is far above what elections lead
// to, far below the end, and rises with time, faster than any election: whoever brings a group up to it stops nothing.
// It is the same for all members, so that none is driven away from the others.
func termCeiling(now time.Time, term uint64) uint64 {
	near := term + min(termStep, math.MaxUint64-term)
	return max(uint64(max(now.Unix(), anyTime))*termsPerSecond, near)
}

// sight is what the door knows of raft.
type sight struct {
	self    uint64
	term    uint64
	lead    uint64 // of term; 0: none known
	leading bool
	ceiling uint64 // of terms
	asked   uint64 // up to where heartbeats of this term asked for confirmation
}

// admit returns why raft must not be given a message, nil if it may. What it lets through may still be false: who is
// listened to is decided before (package peers). It is pure.
func (s *sight) admit(m *raftpb.Message) error {
	kind, term := m.GetType(), m.GetTerm()
	entries := len(m.GetEntries())
	switch {
	case m.GetFrom() == 0 || m.GetFrom() == s.self || m.GetTo() != s.self || raft.IsLocalMsgTarget(m.GetFrom()):
		return fmt.Errorf("%w: %s from %x to %x", errRefused, kind, m.GetFrom(), m.GetTo())
	case term > s.ceiling:
		return fmt.Errorf("%w: %s of term %d, this node is in term %d; elections do not lead there",
			errRefused, kind, term, s.term)
	case (term == 0) != (kind == raftpb.MsgReadIndex): // it would pass for a message of this node
		return fmt.Errorf("%w: %s of term %d", errRefused, kind, term)
	case len(m.GetContext()) > maxContextBytes || m.GetIndex() > maxIndex || m.GetRejectHint() > maxIndex:
		return fmt.Errorf("%w: %s with index %d, hint %d and a context of %d bytes",
			errRefused, kind, m.GetIndex(), m.GetRejectHint(), len(m.GetContext()))
	}
	switch kind {
	case raftpb.MsgApp:
		return admitAppend(m)
	case raftpb.MsgSnap:
		return admitSnapshot(m)
	case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
		if entries != 1 || len(m.GetEntries()[0].GetData()) > maxContextBytes {
			return fmt.Errorf("%w: %s with %d entries", errRefused, kind, entries)
		}
		return nil
	case raftpb.MsgHeartbeatResp:
		return s.admitConfirmation(m)
	case raftpb.MsgTimeoutNow:
		if term != s.term || m.GetFrom() != s.lead {
			return fmt.Errorf("%w: an order to stand for election in term %d by %x, who does not lead it",
				errRefused, term, m.GetFrom())
		}
	case raftpb.MsgAppResp:
		if m.GetReject() && m.GetRejectHint() > m.GetIndex() {
			return fmt.Errorf("%w: a refusal of entry %d that asks for %d", errRefused, m.GetIndex(), m.GetRejectHint())
		}
	case raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgHeartbeat:
	default:
		return fmt.Errorf("%w: %s is local to a node", errRefused, kind)
	}
	if entries > 0 || m.GetSnapshot() != nil {
		return fmt.Errorf("%w: %s with %d entries", errRefused, kind, entries)
	}
	return nil
}

// admitAppend wants entries that continue each other and the one before them, in terms that do not fall and were there
// when the message was sent. Nobody's log holds an entry 0: who has nothing begins with a snapshot.
func admitAppend(m *raftpb.Message) error {
	at, term := m.GetIndex(), m.GetLogTerm()
	if at == 0 || term == 0 || term > m.GetTerm() {
		return fmt.Errorf("%w: an append of term %d behind entry %d of term %d", errRefused, m.GetTerm(), at, term)
	}
	for _, e := range m.GetEntries() {
		if at++; e.GetIndex() != at || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("%w: an append of term %d with entry %d of term %d in the place of entry %d",
				errRefused, m.GetTerm(), e.GetIndex(), e.GetTerm(), at)
		}
		if term = e.GetTerm(); e.GetType() == raftpb.EntryNormal {
			continue
		}
		if _, err := decodeChange(e); err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	return nil
}

// admitSnapshot wants a state of an earlier entry, with members that raft can begin with.
func admitSnapshot(m *raftpb.Message) error {
	meta := m.GetSnapshot().GetMetadata()
	if i, t := meta.GetIndex(), meta.GetTerm(); i == 0 || i > maxIndex || t == 0 || t > m.GetTerm() {
		return fmt.Errorf("%w: in term %d a snapshot of entry %d of term %d", errRefused, m.GetTerm(), i, t)
	}
	conf := meta.GetConfState()
	config, progress, err := confchange.Restore(confchange.Changer{
		Tracker: tracker.MakeProgressTracker(maxInflightMessages, 0), LastIndex: meta.GetIndex(),
	}, raftpb.EnsureConfState(proto.Clone(conf).(*raftpb.ConfState)))
	if err == nil {
		t := tracker.ProgressTracker{Config: config, Progress: progress}
		err = raftpb.EnsureConfState(conf).Equivalent(t.ConfState())
	}
	if err == nil && len(conf.GetVoters()) == 0 {
		err = errors.New("nobody votes")
	}
	if err != nil {
		return fmt.Errorf("%w: a snapshot with impossible members: %w", errRefused, err)
	}
	return nil
}

// admitConfirmation wants of a confirmation that it is of what was asked for: raft takes the number as it is.
func (s *sight) admitConfirmation(m *raftpb.Message) error {
	at, ok := confirmed(m)
	if !ok || s.leading && m.GetTerm() == s.term && at > s.asked {
		return fmt.Errorf("%w: a confirmation of %x where %d was asked for last", errRefused, m.GetContext(), s.asked)
	}
	return nil
}

// doorman keeps what the door has to remember.
type doorman struct {
	now   func() time.Time
	log   *slog.Logger
	names peers.Directory
	// whether a member is heard; nil: all are
	admits func(id uint64) bool
	asked  uint64 // the highest confirmation that heartbeats of this term asked for, while this node leads

	told    time.Time // when the log was told of a refusal
	refused int       // since then
}

// refusalsEvery is how often the log is told of refusals.
const refusalsEvery = 10 * time.Second

// refuses reports whether a message stays outside, and tells the log why, now and then.
func (d *doorman) refuses(m *raftpb.Message, self uint64, s raft.BasicStatus, led uint64) bool {
	sight := sight{
		self: self, term: s.HardState.GetTerm(), lead: s.Lead, leading: s.RaftState == raft.StateLeader,
		ceiling: termCeiling(d.now(), s.HardState.GetTerm()),
	}
	if led == sight.term { // else it became the leader in this turn, and has asked nothing
		sight.asked = d.asked
	}
	err := sight.admit(m)
	if err == nil && d.admits != nil && !d.admits(m.GetFrom()) {
		err = errLeftOut
	}
	if err == nil {
		return false
	}
	d.refused++
	if now := d.now(); d.told.IsZero() || now.Sub(d.told) >= refusalsEvery {
		what := "a message was refused that no member sends: somebody else speaks in the name of one, or it is broken"
		if errors.Is(err, errLeftOut) {
			what = "a node whose disk is not of this life of the region is not heard"
		}
		d.log.Error(what, "member", peers.NameIn(d.names, m.GetFrom()), "messages", d.refused, "err", err)
		d.told, d.refused = now, 0
	}
	return true
}

// confirmed returns up to where a heartbeat asks for confirmation, or an answer gives it; zero for nothing, false if it
// cannot be read.
func confirmed(m *raftpb.Message) (at uint64, ok bool) {
	switch len(m.GetContext()) {
	case 0:
		return 0, true
	case confirmationBytes:
		return binary.LittleEndian.Uint64(m.GetContext()), true
	}
	return 0, false
}

// sends notes what a heartbeat asks for.
func (d *doorman) sends(m *raftpb.Message) {
	if at, ok := confirmed(m); ok {
		d.asked = max(d.asked, at)
	}
}
