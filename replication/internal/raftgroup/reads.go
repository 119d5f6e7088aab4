package raftgroup

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// maxReadRounds is how many confirmations of leadership are under way at once; reads that come meanwhile share the
// next.
const maxReadRounds = 2

// A round is known by what raft carries with it: who asked, in which life, and its number there. No two rounds ever
// have the same, so an answer that was delayed can never confirm a later read.
const readContextBytes = 8 + 8 + 8

// read is somebody who waits for a linearizable point.
type read struct {
	ctx   context.Context // who asks no more is not asked for
	reply chan uint64     // takes one answer
}

// readRound is one confirmation of leadership under way, for everybody who asked before it began.
type readRound struct {
	callers []*read
	ticks   int // since it began
}

// reads is the loop's state of linearizable reads.
//
//  1. A caller is in one place: he waits, or is in one round. So he is answered once.
//  2. At most maxReadRounds rounds are under way, none without callers, and each was begun after all its callers had
//     asked.
//  3. No two rounds ever have the same context, in no life of this member.
type reads struct {
	waiting []*read // for a round to begin
	rounds  map[uint64]*readRound
	last    uint64            // number of the newest round
	prefix  [16]byte          // of every context: this member, and its life, which is random
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

// valid returns what contradicts the properties above.
func (r *reads) valid() error {
	if len(r.rounds) > maxReadRounds || len(r.foreign) > maxForeignReads {
		return fmt.Errorf("reads: %d rounds, and %d of others", len(r.rounds), len(r.foreign))
	}
	seen := make(map[*read]bool)
	for _, caller := range r.waiting {
		seen[caller] = true
	}
	count := len(r.waiting)
	for number, round := range r.rounds {
		if number > r.last || len(round.callers) == 0 {
			return fmt.Errorf("reads: round %d of %d has %d callers", number, r.last, len(round.callers))
		}
		for _, caller := range round.callers {
			seen[caller] = true
		}
		count += len(round.callers)
	}
	if len(seen) != count {
		return fmt.Errorf("reads: %d callers are in %d places", len(seen), count)
	}
	return nil
}

// mayAnswerReads is false for a leader that has not yet committed an entry of its own term: it may not know the newest
// commit. (raft itself lets the leader of a single voter answer too early.)
func (l *loop) mayAnswerReads() bool {
	if l.leading {
		return l.start != 0 && l.commit >= l.start
	}
	return l.node.BasicStatus().RaftState != raft.StateLeader // it may have become one in this turn
}

// receiveRead takes the round of another member. One for which there is no room is dropped; its member asks again.
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
	asked := append(make([]byte, 0, readContextBytes), r.prefix[:]...)
	l.node.ReadIndex(binary.LittleEndian.AppendUint64(asked, r.last))
}

// confirm answers the callers of a round. raft hands out rounds of former lives too, which mean nothing here.
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

// tick gives up rounds that had no answer for half an election timeout, and forgets who asks no more: without a leader
// no round begins.
func (r *reads) tick(electionTicks int) {
	r.waiting = slices.DeleteFunc(r.waiting, func(caller *read) bool { return caller.ctx.Err() != nil })
	for number, round := range r.rounds {
		if round.ticks++; round.ticks > electionTicks/2 {
			r.giveUp(number, round)
		}
	}
}

// requeue gives up all rounds, and has their callers ask again: the leader they were sent to is another.
func (r *reads) requeue() {
	for number, round := range r.rounds {
		r.giveUp(number, round)
	}
}

func (r *reads) giveUp(number uint64, round *readRound) {
	delete(r.rounds, number)
	r.waiting = append(r.waiting, round.callers...)
}
