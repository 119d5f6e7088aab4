package raftgroup

import (
	"fmt"

	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
)

// gone reports whether a node left the members conf; one that waits to join knows of none.
func gone(conf *raftpb.ConfState, id uint64) bool {
	return len(conf.GetVoters()) > 0 && !peers.IsMember(conf, id)
}

// newChange returns a proposal to change the members, for the leader of a term, and who waits for it. cc stays the
// caller's.
func newChange(on Basis, cc *raftpb.ConfChangeV2) (*proposal, *memberWait, error) {
	change := proto.Clone(cc).(*raftpb.ConfChangeV2)
	data, err := proto.Marshal(change)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMembership, err)
	}
	wait := &memberWait{change: change, on: on, reply: make(chan error, 1)}
	entry := &raftpb.Entry{Type: raftpb.EntryConfChangeV2.Enum(), Data: data}
	p := &proposal{term: on.Term, entries: []*raftpb.Entry{entry}, member: wait, reply: make(chan proposed, 1)}
	return p, wait, nil
}

// decodeChange reads the entry of a membership change; an empty one leaves a joint configuration.
func decodeChange(e *raftpb.Entry) (*raftpb.ConfChangeV2, error) {
	if e.GetType() == raftpb.EntryConfChange {
		var cc raftpb.ConfChange
		if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
			return nil, fmt.Errorf("%w: membership change at %d: %w", ErrInvariant, e.GetIndex(), err)
		}
		return cc.AsV2(), nil
	}
	cc := new(raftpb.ConfChangeV2)
	if err := proto.Unmarshal(e.GetData(), cc); err != nil {
		return nil, fmt.Errorf("%w: membership change at %d: %w", ErrInvariant, e.GetIndex(), err)
	}
	return cc, nil
}

// checkChange tries a change on the members as they are: once committed, an impossible one could only stop every node.
// They have to be those on which it was decided. They are those on which it will be applied, too, by whatever leader:
// raft appends no change while its log holds one that is not applied, and whoever has its entry has those before it.
func (l *loop) checkChange(cc *raftpb.ConfChangeV2, on Basis) error {
	if len(cc.GetChanges()) == 0 {
		return fmt.Errorf("%w: nothing to change", ErrMembership)
	}
	for _, c := range cc.GetChanges() {
		if c.GetNodeId() == 0 {
			return fmt.Errorf("%w: node ID 0", ErrMembership)
		}
	}
	s := l.node.Status()
	if len(s.Config.Voters[1]) > 0 || l.changes != l.view.changes.Load() { // the machine is at it
		return fmt.Errorf("%w: another membership change is under way", ErrBusy)
	}
	t := tracker.MakeProgressTracker(maxInflightMessages, 0)
	t.Config, t.Progress = s.Config, tracker.ProgressMap{}
	for id, pr := range s.Progress {
		t.Progress[id] = &pr
	}
	if conf := t.ConfState(); on.Changes != l.changes || conf.Equivalent(on.Conf) != nil {
		return fmt.Errorf("%w: the members are %v", ErrOvertaken, conf)
	}
	changer := confchange.Changer{Tracker: t, LastIndex: 1}
	var err error
	if autoLeave, joint := cc.EnterJoint(); joint {
		_, _, err = changer.EnterJoint(autoLeave, cc.GetChanges()...)
	} else {
		_, _, err = changer.Simple(cc.GetChanges()...)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMembership, err)
	}
	return nil
}

// applyChange lets raft take a committed change, while the applier waits.
func (l *loop) applyChange(cc *raftpb.ConfChangeV2) *raftpb.ConfState {
	conf := l.node.ApplyConfChange(cc)
	l.changes++
	l.peers.Retain(conf)
	l.outgoing.Retain(conf)
	return conf
}

// leaveJoint proposes to leave a joint configuration. raft does that by itself when the change is applied, but not
// while leadership is being handed over; if that fails it tries again with the next entry that is applied, and there
// may be none.
func leaveJoint(l *loop) {
	if conf := l.view.conf.Load(); !l.leading || !conf.GetAutoLeave() {
		return
	}
	if s := l.node.BasicStatus(); s.LeadTransferee != 0 || s.Applied < l.handed {
		return
	}
	leave := &raftpb.Entry{Type: raftpb.EntryConfChangeV2.Enum()}
	_ = l.node.Step(&raftpb.Message{ // refused only by a leader that is none any more
		Type: raftpb.MsgProp.Enum(), From: new(l.self), Entries: []*raftpb.Entry{leave},
	})
}
