package raftgroup

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/transport"
)

// MaxPayloadBytes bounds one payload: an entry travels in one message of the transport.
const MaxPayloadBytes = transport.MaxMessageBytes - 1<<20

// proposal is a batch of entries on its way into the log. The loop answers it within the turn that takes it.
type proposal struct {
	term    uint64
	entries []*raftpb.Entry
	member  *memberWait   // for a membership change
	reply   chan proposed // takes one answer
}

// proposed says where a proposal is, or why it is nowhere.
type proposed struct {
	first uint64
	err   error
}

// newProposal makes payloads the entries of one proposal.
func newProposal(term uint64, payloads [][]byte) (*proposal, error) {
	if len(payloads) == 0 {
		return nil, fmt.Errorf("%w: nothing to propose", ErrConfig)
	}
	block := make([]raftpb.Entry, len(payloads))
	entries := make([]*raftpb.Entry, len(payloads))
	for i, p := range payloads {
		if len(p) > MaxPayloadBytes {
			return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(p), MaxPayloadBytes)
		}
		block[i].Data = p
		entries[i] = &block[i]
	}
	return &proposal{term: term, entries: entries, reply: make(chan proposed, 1)}, nil
}

// propose steps a proposal. If raft takes it, its answer waits for the index.
func (l *loop) propose(p *proposal) {
	if err := l.admit(p); err != nil {
		p.reply <- proposed{err: err}
		return
	}
	err := l.node.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(l.self), Entries: p.entries})
	if err != nil {
		p.reply <- proposed{err: l.refusal(p.term, err)}
		return
	}
	l.taken = append(l.taken, p)
	l.takenEntries += uint64(len(p.entries))
}

// admit checks what raft does not.
func (l *loop) admit(p *proposal) error {
	if !l.leading || p.term != l.term {
		return fmt.Errorf("%w: term %d, asked for %d, leader is %d", ErrNotLeader, l.term, p.term, l.leader)
	}
	if p.member != nil {
		return l.checkChange(p.member.change, p.member.on)
	}
	return nil
}

// refusal says why raft dropped a proposal.
func (l *loop) refusal(term uint64, err error) error {
	if !errors.Is(err, raft.ErrProposalDropped) {
		return fmt.Errorf("%w: %w", ErrInvariant, err)
	}
	s := l.node.BasicStatus()
	switch {
	case s.RaftState != raft.StateLeader || s.HardState.GetTerm() != term:
		return fmt.Errorf("%w: lost the leadership of term %d", ErrNotLeader, term)
	case s.LeadTransferee != 0:
		return fmt.Errorf("%w: handing leadership to %d", ErrNotLeader, s.LeadTransferee)
	case !peers.IsMember(l.view.conf.Load(), l.self):
		return fmt.Errorf("%w: no longer a member", ErrNotLeader)
	default:
		return fmt.Errorf("%w: more than %d bytes are uncommitted", ErrBusy, l.maxUncommitted)
	}
}

// answerProposals tells those whose entries were just taken where they are: at the end of what goes to the log, for
// proposals are the last thing that a turn steps.
func (l *loop) answerProposals(entries []*raftpb.Entry) {
	if len(l.taken) == 0 || len(entries) == 0 {
		return
	}
	next := entries[len(entries)-1].GetIndex() + 1 - l.takenEntries
	for _, p := range l.taken {
		first := next
		next += uint64(len(p.entries))
		if p.member != nil {
			if p.entries[0].GetType() != raftpb.EntryConfChangeV2 { // raft made an empty entry of it
				p.reply <- proposed{err: fmt.Errorf("%w: another membership change is under way, or this node leads "+
					"only just", ErrBusy)}
				continue
			}
			p.member.index, p.member.term = first, p.term
			l.applier.awaitChange(p.member) // before the entry itself, which is not even in the log
		}
		p.reply <- proposed{first: first}
	}
	l.taken, l.takenEntries = emptied(l.taken), 0
}
