package members

import (
	"context"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Run keeps this node's description in its region's log in line with what it is, until ctx ends.
func (r *Registrar) Run(ctx context.Context) {
	timer := r.config.Clock.NewTimer(describeEvery)
	defer timer.Stop()
	for {
		r.describe(ctx)
		timer.Reset(describeEvery)
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-timer.C():
		}
	}
}

// Nudge has it look again: there may be a leader now.
func (r *Registrar) Nudge() {
	r.wake.Nudge()
}

// describe publishes this node's addresses to its region if they are not there, or have changed.
func (r *Registrar) describe(ctx context.Context) {
	m := r.config.Self
	known := r.config.Applied.State().Members
	if i := slices.IndexFunc(known, func(o timeline.Member) bool { return o.ID == m.ID }); i >= 0 {
		o := known[i]
		if o.PeerAddr == m.PeerAddr && slices.Equal(o.ClientURLs, m.ClientURLs) && o.Name == m.Name {
			return
		}
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

// publish writes a node's description to the region's log; only the leader can. A node that was removed and still runs
// is refused.
func (r *Registrar) publish(ctx context.Context, p publication) error {
	conf := r.config.Group.Status().Conf
	if !slices.Contains(conf.GetVoters(), p.Member.ID) && !slices.Contains(conf.GetLearners(), p.Member.ID) {
		return fmt.Errorf("%w: %s is not a member", contract.ErrMember, p.Member.Name)
	}
	_, err := r.config.Controls.Control(ctx, &timeline.Control{Op: timeline.OpMember, Member: &p.Member})
	return err
}
