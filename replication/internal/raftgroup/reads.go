package raftgroup

import (
	"context"
	"crypto/rand"
	"encoding/binary"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// maxReadRounds is how many confirmations of leadership are under way at once; reads that come meanwhile share the next.
const maxReadRounds = 2

// A round is known by what raft carries with it: who asked, in which life, and its number there. No two rounds ever have the same,
// so an answer that was delayed can never confirm a later read.
const readContextBytes = 8 + 8 + 8

// read is somebody who waits for a linearizable point.
type read struct {
	ctx   context.Context
	reply chan uint64
}

type readRound struct {
	callers []*read
	ticks   int
}

// reads is the loop's state of linearizable reads.
type reads struct {
	waiting []*read
	rounds  map[uint64]*readRound
	last    uint64 // number of the newest round
	prefix  [16]byte
	foreign []*raftpb.Message // of other members, for a leader that may not answer yet
}

// maxForeignReads bounds the rounds of others that wait; their members ask again.
const maxForeignReads = 1024

func newReads(id uint64) reads {
	r := reads{rounds: make(map[uint64]*readRound)}
	binary.LittleEndian.PutUint64(r.prefix[:8], id)
	rand.Read(r.prefix[8:]) // never fails
	return r
}

// ReadIndex returns an index that is at or after everything acknowledged before the call: a machine that has applied it can serve a
// linearizable read. It works on every member, and tries again until ctx ends.
func (g *Group) ReadIndex(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r := &read{ctx: ctx, reply: make(chan uint64, 1)}
	if !g.mail.post(func(w *work) { w.reads = append(w.reads, r) }) {
		return 0, g.stopped()
	}
	select {
	case index := <-r.reply:
		return index, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-g.ended:
		return 0, g.stopped()
	}
}

// mayAnswerReads is false for a leader that has not yet committed an entry of its own term: it may not know the newest commit. (raft itself
// lets the leader of a single voter answer too early.)
func (l *loop) mayAnswerReads() bool {
	if l.leading {
		return l.start != 0 && l.commit >= l.start
	}
	return l.node.BasicStatus().RaftState != raft.StateLeader // it may have become one in this turn
}

// receiveRead takes the round of another member.
func (l *loop) receiveRead(m *raftpb.Message) {
	if l.mayAnswerReads() {
		_ = l.node.Step(m)
	} else if len(l.reads.foreign) < maxForeignReads {
		l.reads.foreign = append(l.reads.foreign, m)
	}
}

// read asks raft on behalf of all who wait, if now is the time.
func (l *loop) read() {
	r := &l.reads
	if len(r.foreign) > 0 && l.mayAnswerReads() {
		for _, m := range r.foreign {
			_ = l.node.Step(m)
		}
		r.foreign = emptied(r.foreign)
	}
	if len(r.waiting) == 0 || len(r.rounds) >= maxReadRounds || (l.leader == 0 && !l.leading) || !l.mayAnswerReads() {
		return
	}
	round := &readRound{callers: make([]*read, 0, len(r.waiting))}
	for _, caller := range r.waiting {
		if caller.ctx.Err() == nil {
			round.callers = append(round.callers, caller)
		}
	}
	r.waiting = emptied(r.waiting)
	if len(round.callers) == 0 {
		return
	}
	r.last++
	r.rounds[r.last] = round
	l.node.ReadIndex(binary.LittleEndian.AppendUint64(append(make([]byte, 0, readContextBytes), r.prefix[:]...), r.last))
}

// confirm answers the callers of a round.
func (r *reads) confirm(state raft.ReadState) {
	if len(state.RequestCtx) != readContextBytes || [16]byte(state.RequestCtx) != r.prefix {
		return
	}
	number := binary.LittleEndian.Uint64(state.RequestCtx[16:])
	round := r.rounds[number]
	if round == nil {
		return // asked again meanwhile
	}
	delete(r.rounds, number)
	for _, caller := range round.callers {
		caller.reply <- state.Index
	}
}

// tick gives up rounds that had no answer for half an election timeout.
func (r *reads) tick(electionTicks int) {
	for number, round := range r.rounds {
		if round.ticks++; round.ticks > electionTicks/2 {
			r.giveUp(number, round)
		}
	}
}

// askAgain gives up all rounds: the leader they were sent to is another.
func (r *reads) askAgain() {
	for number, round := range r.rounds {
		r.giveUp(number, round)
	}
}

func (r *reads) giveUp(number uint64, round *readRound) {
	delete(r.rounds, number)
	r.waiting = append(r.waiting, round.callers...)
}
