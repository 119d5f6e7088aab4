package members

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
)

// answerEvery is how often it is looked who has answered.
const answerEvery = 20 * time.Millisecond

// majority is how many of n voters decide.
func majority(n int) int { return n/2 + 1 }

// danger returns why a change could cost the region its quorum, nil if it cannot (M6). lives says of a voter that it is
// known to live now; who is not known to does not count. What etcd refuses with its strict check of reconfigurations is
// refused here, and a removal also if it is the removed one who is not known to live.
func (c *change) danger(voters []uint64, lives func(uint64) bool) error {
	var silent []uint64
	for _, id := range voters {
		if !lives(id) {
			silent = append(silent, id)
		}
	}
	living, after := len(voters)-len(silent), len(voters)
	switch {
	case c.Do == "remove" && slices.Contains(voters, c.ID):
		after--
		if lives(c.ID) {
			living--
		}
	case c.Do == "promote": // that it is not behind is seen to elsewhere
		after++
		if lives(c.ID) {
			living++
		}
	case c.Do == "add" && !c.Learner && len(silent) > 0: // the new one has to come yet
		return fmt.Errorf("%w: %d of %d voters are known to live, and a voter is added while all of them do; "+
			"remove the dead one first, or add a learner", contract.ErrUnhealthy, living, len(voters))
	default:
		return nil
	}
	if living < majority(after) {
		return fmt.Errorf("%w: there would be %d voters, of which %d are known to live, and %d are needed",
			contract.ErrUnhealthy, after, living, majority(after))
	}
	return nil
}

// permit returns what a change is to Raft, or why it is not made. Who lives is asked now: a voter is known to live once
// it has answered this leader since, for which it has as long as a question.
func (r *Registrar) permit(ctx context.Context, c *change) (raftpb.ConfChangeType, error) {
	asked := r.config.Clock.Now()
	until := asked.Add(r.config.Timeout)
	for {
		status := r.config.Group.Status()
		if !status.IsLeader {
			return 0, fmt.Errorf("%w: region %s", contract.ErrNotLeader, r.config.Region)
		}
		kind, err := kindOf(c, status)
		if err != nil {
			return 0, err
		}
		err = c.danger(status.Conf.GetVoters(), func(id uint64) bool {
			return id == status.ID || status.Progress[id].Heard.After(asked)
		})
		if err == nil {
			return kind, nil
		}
		if !r.config.Clock.Now().Before(until) || !r.pause(ctx) {
			r.config.Logger.Warn("change of members refused", "change", c.Do, "member", c.Name, "err", err)
			return 0, err
		}
	}
}

// pause waits a moment; false if ctx ends before.
func (r *Registrar) pause(ctx context.Context) bool {
	timer := r.config.Clock.NewTimer(answerEvery)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// leave is for the removal of this node while it leads: it hands the lead over before, so that no term begins with an
// election, and brings the change to whoever leads then.
func (r *Registrar) leave(ctx context.Context, c change) error {
	to := successor(r.config.Group.Status())
	r.config.Logger.Info("hands the lead over, to be removed", slog.String("to", r.config.Directory.Name(to)))
	if err := asLeader(r.config.Group.TransferLeader(ctx, to)); err != nil {
		return err
	}
	for {
		addr := r.config.Directory.LeaderAddr()
		var err error = fmt.Errorf("%w: region %s has no leader", contract.ErrNotReady, r.config.Region)
		if addr != "" && !r.config.Group.Status().IsLeader {
			_, err = peer.Order(ctx, r.config.Client, addr, askMembers, c)
		}
		if err == nil || !peer.Elsewhere(err) || !r.pause(ctx) {
			return err
		}
	}
}

// successor returns the voter beside the leader that is the furthest of those that live.
func successor(s raftgroup.Status) (id uint64) {
	var best raftgroup.Progress
	for _, v := range s.Conf.GetVoters() {
		p := s.Progress[v]
		if v == s.ID {
			continue
		}
		if id == 0 || p.Active && !best.Active || p.Active == best.Active && p.Match > best.Match {
			id, best = v, p
		}
	}
	return id
}
