package raftgroup

import (
	"context"
	"fmt"

	"go.etcd.io/raft/v3/confchange"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// memberWait is somebody who waits for a membership change to be applied.
type memberWait struct {
	change      *raftpb.ConfChangeV2
	index, term uint64
	joint       bool // applied, but the joint configuration has still to be left
	reply       chan error
}

// ChangeMembers changes the members and returns when that is applied here; a change of several members at once goes through a joint
// configuration, which has been left by then. Only the leader can: ErrNotLeader elsewhere. ErrBusy says that another change is
// under way, ErrMembership that cc makes no sense, ErrUnknownOutcome or ctx's error that it may still happen.
func (g *Group) ChangeMembers(ctx context.Context, cc *raftpb.ConfChangeV2) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	change := proto.Clone(cc).(*raftpb.ConfChangeV2)
	data, err := proto.Marshal(change)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMembership, err)
	}
	wait := &memberWait{change: change, reply: make(chan error, 1)}
	entry := &raftpb.Entry{Type: raftpb.EntryConfChangeV2.Enum(), Data: data}
	p := &proposal{term: g.view.term.Load(), entries: []*raftpb.Entry{entry}, member: wait, reply: make(chan proposed, 1)}
	if _, err := g.submit(p); err != nil {
		return err
	}
	select {
	case err := <-wait.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-g.ended:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, g.stopped())
	}
}

// checkChange tries a change on the members as they are: once committed, an impossible one could only stop every node.
func (l *loop) checkChange(cc *raftpb.ConfChangeV2) error {
	if len(cc.GetChanges()) == 0 {
		return fmt.Errorf("%w: nothing to change", ErrMembership)
	}
	for _, c := range cc.GetChanges() {
		if c.GetNodeId() == 0 {
			return fmt.Errorf("%w: node ID 0", ErrMembership)
		}
	}
	s := l.node.Status()
	if len(s.Config.Voters[1]) > 0 {
		return fmt.Errorf("%w: another membership change is under way", ErrBusy)
	}
	t := tracker.MakeProgressTracker(maxInflightMessages, 0)
	t.Config, t.Progress = s.Config, tracker.ProgressMap{}
	for id, pr := range s.Progress {
		t.Progress[id] = &pr
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

// applyChange lets raft take a committed change, on the loop.
func (l *loop) applyChange(cc *raftpb.ConfChangeV2) *raftpb.ConfState {
	conf := l.node.ApplyConfChange(cc)
	l.g.network.retain(conf)
	return conf
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

// leaderTransfer is somebody who waits for another leader.
type leaderTransfer struct {
	to    uint64
	reply chan error
}

// TransferLeader hands leadership to a voter and returns when this node follows it. ErrNotLeader if this node does not lead;
// ErrTransfer if the other did not take over within an election timeout, or another node did.
func (g *Group) TransferLeader(ctx context.Context, to uint64) error {
	t := &leaderTransfer{to: to, reply: make(chan error, 1)}
	if !g.mail.call(func() { g.loop.transfer(t) }) {
		return g.stopped()
	}
	select {
	case err := <-t.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-g.ended:
		return g.stopped()
	}
}

func (l *loop) transfer(t *leaderTransfer) {
	switch _, voter := l.node.Status().Config.Voters.IDs()[t.to]; {
	case !l.leading:
		t.reply <- fmt.Errorf("%w: leader is %d", ErrNotLeader, l.leader)
	case t.to == l.g.config.ID:
		t.reply <- nil
	case !voter:
		t.reply <- fmt.Errorf("%w: %d is not a voter", ErrTransfer, t.to)
	default:
		l.node.TransferLeader(t.to)
		l.transfers = append(l.transfers, t)
	}
}

// checkTransfers answers those whose transfer came to an end.
func (l *loop) checkTransfers() {
	if len(l.transfers) == 0 {
		return
	}
	under := l.node.BasicStatus().LeadTransferee
	waiting := l.transfers[:0]
	for _, t := range l.transfers {
		switch {
		case l.leader == t.to:
			t.reply <- nil
		case l.leading && under != t.to:
			t.reply <- fmt.Errorf("%w: %d did not take over in time", ErrTransfer, t.to)
		case !l.leading && l.leader != 0:
			t.reply <- fmt.Errorf("%w: %d leads", ErrTransfer, l.leader)
		default:
			waiting = append(waiting, t)
		}
	}
	clear(l.transfers[len(waiting):])
	l.transfers = waiting
}
