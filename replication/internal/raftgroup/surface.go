package raftgroup

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/snapshots"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Services returns what peers open on this node; the caller registers it with the transport.
func (g *Group) Services() map[string]transport.Handler {
	return map[string]transport.Handler{
		peers.Service: g.network.Serve, snapshots.Service: g.incoming.Serve,
		snapshots.ServiceElder: g.incoming.ServeElder,
	}
}

// Start lets the group take part. Call it once.
func (g *Group) Start() {
	if !g.started.CompareAndSwap(false, true) {
		return
	}
	g.life.run(func(ctx context.Context) error {
		defer g.mail.end()
		return g.loop.run(ctx)
	})
	g.life.run(g.writer.run)
	g.life.run(g.applier.run)
}

// TakePart ends what Config.Aside began.
func (g *Group) TakePart() { g.mail.call(func(l *loop) { l.aside = false }) }

// ForgetSnapshot ends what is made, sent and kept of this node's state for members that lack too much: another state is
// about to take its place, and it was wrong.
func (g *Group) ForgetSnapshot() { g.outgoing.Forget() }

// Tidy removes what is left of checkpoints that were received, or made for others, and that nobody needs. It is called
// now and then.
func (g *Group) Tidy() {
	g.incoming.Tidy(g.view.applied.Load(), g.fullFor() > 0)
	g.outgoing.Tidy()
}

// Halt begins the end that Stop waits for: what fails from here on is a consequence of it, and is told to nobody.
func (g *Group) Halt() { g.life.halt(ErrStopped) }

// Stop ends the group and waits for all its goroutines; the log and the machine are then the caller's again. Leadership
// is not handed over: TransferLeader does that before. It must not be called from a callback of the group other than
// OnFatal.
func (g *Group) Stop() {
	g.Halt()
	if !g.started.Swap(true) {
		g.mail.end() // the loop never began
	}
	g.life.wait()
}

// Propose hands payloads, as consecutive entries of one proposal, to raft. It returns once raft took them into its log,
// with the index of the first, long before they are committed; or an error, and then nothing was appended (ErrStopped
// excepted): ErrNotLeader if this node does not lead term or is handing leadership over, ErrBusy if too much is
// uncommitted, ErrTooLarge, or ctx's if it had ended. Once handed over, a proposal does not wait for ctx: the loop
// answers within a turn. Payloads belong to the group from then on and must not change.
func (g *Group) Propose(ctx context.Context, term uint64, payloads [][]byte) (first uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p, err := newProposal(term, payloads)
	if err != nil {
		return 0, err
	}
	return g.submit(p)
}

func (g *Group) submit(p *proposal) (first uint64, err error) {
	r, ok := g.mail.submit(p)
	if !ok {
		return 0, g.life.cause()
	}
	return r.first, r.err
}

// ReadIndex returns an index that is at or after everything acknowledged before the call: a machine that has applied it
// can serve a linearizable read. It works on every member, and tries again until ctx ends.
func (g *Group) ReadIndex(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r := &read{ctx: ctx, reply: make(chan uint64, 1)}
	if !g.mail.read(r) {
		return 0, g.life.cause()
	}
	select {
	case index := <-r.reply:
		return index, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-g.mail.ended:
		return 0, g.life.cause()
	}
}

// ChangeMembers changes the members and returns when that is applied here; a change of several members at once goes
// through a joint configuration, which has been left by then. It is made on the members on which it was decided, in
// their term, or not at all. Only the leader can: ErrNotLeader elsewhere, and in another term. ErrBusy says that
// another change is under way, ErrOvertaken that one was made since, ErrMembership that cc makes no sense,
// ErrUnknownOutcome or ctx's error that it may still happen.
func (g *Group) ChangeMembers(ctx context.Context, on Basis, cc *raftpb.ConfChangeV2) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, wait, err := newChange(on, cc)
	if err != nil {
		return err
	}
	if _, err := g.submit(p); err != nil {
		return err
	}
	select {
	case err := <-wait.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-g.mail.ended:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, g.life.cause())
	}
}

// TransferLeader hands leadership to a voter and returns when this node has stepped down and the other leads.
// ErrNotLeader if this node does not lead; ErrTransfer if the other cannot be reached, did not take over within an
// election timeout, or another node did, and if this node steps down since it hears no majority.
func (g *Group) TransferLeader(ctx context.Context, to uint64) error {
	t := &leaderTransfer{to: to, reply: make(chan error, 1)}
	if !g.mail.transfer(t) {
		return g.life.cause()
	}
	select {
	case err := <-t.reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-g.mail.ended:
		return g.life.cause()
	}
}

// LeadsIn reports whether this member leads the group in this term, whatever the machine has applied.
func (g *Group) LeadsIn(term uint64) bool { return g.view.leading.Load() && g.view.term.Load() == term }

// fullFor returns for how long this node has waited for room on its disk, zero if it does not.
func (g *Group) fullFor() time.Duration { return max(g.writer.room.Lasts(), g.config.Room.Lasts()) }

// Glimpse returns the present state, and waits for nothing. Progress is as the loop showed it last, a tick ago at most;
// nil if that is longer ago than an election timeout: then the loop stands still, as when it waits for the disk, and
// nothing is known. Nobody may change Conf.
func (g *Group) Glimpse() Status {
	s := g.view.status()
	s.ID, s.DiskFull = g.config.ID, g.fullFor()
	oldest := g.config.Clock.Now().Add(-time.Duration(g.config.ElectionTicks) * g.config.TickInterval)
	if p := g.view.shown.Load(); s.IsLeader && p != nil && p.term == s.Term && !p.at.Before(oldest) {
		s.Progress = p.members
	}
	return s
}

// Status is Glimpse for who decides by Progress: it is of now, and costs, on a leader, a turn of the loop. That may
// wait for the disk.
func (g *Group) Status() Status {
	s := g.Glimpse()
	if s.IsLeader {
		s.Progress = g.mail.progress()
	}
	return s
}

// Applied returns the last index that the machine has.
func (g *Group) Applied() uint64 { return g.view.applied.Load() }
