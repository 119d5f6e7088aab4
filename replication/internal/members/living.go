package members

import (
	"cmp"
	"context"
	"errors"
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

// permit returns what a change is to Raft and on what that is decided, or why it is not made. Who lives is asked now: a
// voter is known to live once it has answered this leader since, for which it has as long as a question.
func (r *Registrar) permit(ctx context.Context, c *change) (raftpb.ConfChangeType, raftgroup.Basis, error) {
	var none raftgroup.Basis
	asked := r.config.Clock.Now()
	until := asked.Add(r.config.Timeout)
	for {
		status := r.config.Group.Status()
		if !status.IsLeader {
			return 0, none, fmt.Errorf("%w: region %s", contract.ErrNotLeader, r.config.Region)
		}
		kind, err := kindOf(c, status)
		if err != nil {
			return 0, none, err
		}
		err = c.danger(status.Conf.GetVoters(), func(id uint64) bool {
			return id == status.ID || status.Progress[id].Heard.After(asked)
		})
		if err == nil {
			return kind, status.Basis(), nil
		}
		if !r.config.Clock.Now().Before(until) || !r.pause(ctx) {
			r.config.Logger.Warn("change of members refused", "change", c.Do, "member", c.Name, "err", err)
			return 0, none, err
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
	if err := r.handOver(ctx); err != nil {
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

// handOver makes another voter the leader, the first that takes the lead: one that must not lead, or is away, keeps
// nobody from being removed.
func (r *Registrar) handOver(ctx context.Context) error {
	others := successors(r.config.Group.Status())
	if len(others) == 0 {
		return fmt.Errorf("%w: region %s has no other voter", contract.ErrMember, r.config.Region)
	}
	var refused error
	for _, to := range others {
		r.config.Logger.Info("hands the lead over, to be removed", slog.String("to", r.config.Directory.Name(to)))
		err := r.config.Group.TransferLeader(ctx, to)
		if err == nil {
			return nil
		}
		refused = errors.Join(refused, err)
		if !errors.Is(err, raftgroup.ErrTransfer) || ctx.Err() != nil || !r.config.Group.Status().IsLeader {
			break
		}
	}
	return asLeader(refused)
}

// successors returns the voters beside the leader: those that live first, and of them the furthest.
func successors(s raftgroup.Status) []uint64 {
	others := slices.DeleteFunc(slices.Clone(s.Conf.GetVoters()), func(v uint64) bool { return v == s.ID })
	slices.SortStableFunc(others, func(a, b uint64) int {
		p, q := s.Progress[a], s.Progress[b]
		if p.Active != q.Active {
			return cmp.Compare(alive(q), alive(p))
		}
		return cmp.Compare(q.Match, p.Match)
	})
	return others
}

func alive(p raftgroup.Progress) int {
	if p.Active {
		return 1
	}
	return 0
}
