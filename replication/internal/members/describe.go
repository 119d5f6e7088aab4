package members

import (
	"context"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup/peers"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Run keeps this node's description in its region's log in line with what it is, and presents it to the others, until
// ctx ends.
func (r *Registrar) Run(ctx context.Context) {
	timer := r.config.Clock.NewTimer(describeEvery)
	defer timer.Stop()
	for turn := 0; ; {
		if turn%presentTurns == 0 || r.config.Group.Status().Leader == 0 {
			r.present(ctx)
		}
		r.describe(ctx)
		r.expel(ctx)
		timer.Reset(describeEvery)
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case m := <-r.come:
			r.welcome(ctx, m)
		case <-timer.C():
			turn++
		}
	}
}

// Nudge has it look again: there may be a leader now.
func (r *Registrar) Nudge() {
	r.wake.Nudge()
}

// describe publishes this node's addresses to its region, if these are not there, or are of an earlier start. Where
// somebody else said since this start that it is, is left alone: it is for the next one.
func (r *Registrar) describe(ctx context.Context) {
	m := r.config.Self
	status := r.config.Group.Status()
	if o, known := r.config.Directory.published(m.ID); known {
		if o.Starts == m.Starts && m.Starts != 0 {
			m.PeerAddr = o.PeerAddr
		}
		same := o.PeerAddr == m.PeerAddr && slices.Equal(o.ClientURLs, m.ClientURLs) && o.Name == m.Name
		under := struct{ leader, term uint64 }{status.Leader, status.Term}
		switch {
		case o.Starts == m.Starts && same:
			return
		case o.Starts != m.Starts && same && r.counted == under:
			return // a leader of a version that does not count
		}
		r.counted = under
		m.Learner = o.Learner
	}
	m.Since = r.config.Clock.Now().UTC()
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	if r.config.Leadership.Leads() {
		_ = r.publish(ctx, publication{m}) // tried again at the next turn
	} else if addr := r.config.Directory.LeaderAddr(); addr != "" {
		_, _ = peer.Ask(ctx, r.config.Client, addr, askPublish, publication{m}) // likewise
	}
}

// expel has the region forget, on its leader, whom it removed and has on its list: a word of it or about it that was on
// its way when it was removed comes behind that, and puts it there again (M8).
func (r *Registrar) expel(ctx context.Context) {
	status := r.config.Group.Status()
	if !status.IsLeader || !r.config.Leadership.Leads() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	for _, m := range r.config.Applied.State().Members { // no older than the basis
		if !peers.IsMember(status.Conf, m.ID) { // tried again at the next turn
			_ = r.alter(ctx, status.Basis(), raftpb.ConfChangeType_ConfChangeRemoveNode, m.ID)
		}
	}
}

// publish writes a node's description to the region's log; only the leader can. A node that was removed and still runs
// is refused, and so is what it said before its last start.
func (r *Registrar) publish(ctx context.Context, p publication) error {
	conf := r.config.Group.Status().Conf
	if !slices.Contains(conf.GetVoters(), p.Member.ID) && !slices.Contains(conf.GetLearners(), p.Member.ID) {
		return fmt.Errorf("%w: %s is not a member", contract.ErrMember, p.Member.Name)
	}
	if r.config.Admits != nil && !r.config.Admits(p.Member.ID) {
		return fmt.Errorf("%w: the disk of %s is not of this life of the region, which was formed without it",
			contract.ErrRejected, p.Member.Name)
	}
	o, known := r.config.Directory.published(p.Member.ID)
	stale := p.Member.Starts < o.Starts || p.Member.Starts == o.Starts && p.Member.PeerAddr != o.PeerAddr
	if known && stale && p.Member.Starts != 0 {
		return fmt.Errorf("%w: start %d of %s, the region knows of start %d", contract.ErrRejected, p.Member.Starts,
			p.Member.Name, o.Starts)
	}
	p.Member.Place = o.Place // the region's word, which the node need not know
	_, err := r.config.Controls.Control(ctx, &timeline.Control{Op: timeline.OpMember, Member: &p.Member})
	return err
}
