package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// leastJump is by how much the revision rises, at least, when a primary takes over that may lack a tail.
const leastJump = 1_000_000_000

// failover is the phase of that name.
func (r *run) failover(ctx context.Context) error {
	old, next, err := r.primary(ctx)
	if err != nil {
		return err
	}
	before, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	clients, closeAll, err := connectEach(localfleet.Clients(r.fleet.Nodes()))
	if err != nil {
		return err
	}
	defer closeAll()
	w := startWriters(ctx, clients, r.prefix("failover"), r.Pause)
	defer w.stop()
	late, err := r.loseRegion(ctx, w, old, next)
	if err != nil {
		return err
	}
	defer late.close()
	var report replication.MoveReport
	if err := r.operate(ctx, &report, "failover", "--to", next.Name, "--force"); err != nil {
		return err
	}
	r.line("%s took over in epoch %d after position %d; it is known to lack %d commands", next.Name, report.Epoch,
		report.Position, report.Behind)
	if err := w.more(ctx, r.Writes); err != nil {
		return err
	}
	r.line("clients write to %s", next.Name)
	if err := late.check(ctx); err != nil {
		return err
	}
	writes := w.stop()
	if report.To != next.Name || !report.Lossy {
		return fmt.Errorf("unexpected report: %+v", report)
	}
	if err := localfleet.Start(old.Nodes); err != nil {
		return err
	}
	if err := r.disturbRejoin(ctx, old); err != nil {
		return err
	}
	end, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	r.line("%s is back, follows by itself, and is equal at revision %d", old.Name, end)
	if end < before+leastJump {
		return fmt.Errorf("the revision is %d after the failover, and was %d before: it should have jumped by %d", end,
			before, leastJump)
	}
	if err := r.checkTail(ctx, old, next, writes, report.Position, end); err != nil {
		return err
	}
	return r.checkHashes(ctx, end)
}

// loseRegion cuts the link under load, so that the old primary acknowledges what the new one does not have, and kills
// the old primary with what is on its way. The link is whole afterwards. It returns a client that has seen what was
// lost.
func (r *run) loseRegion(ctx context.Context, w *writers, old, next *localfleet.Region) (*late, error) {
	if err := w.more(ctx, r.Writes); err != nil {
		return nil, err
	}
	r.line("clients of all nodes write, %.0f writes a second", w.rate())
	r.fleet.Cut(old.Name, next.Name)
	if err := w.more(ctx, r.Writes/4); err != nil {
		return nil, err
	}
	localfleet.Kill(old.Nodes)
	r.fleet.Lose(old.Name, next.Name)
	r.fleet.Heal(old.Name, next.Name)
	r.line("killed all of %s, which had acknowledged at least %d writes behind a cut link", old.Name, r.Writes/4)
	if _, err := r.leader(ctx, next); err != nil {
		return nil, err
	}
	return r.startLate(ctx, next, w.lastRevision())
}

// rejoinKills is how many leaders of the old primary are killed while it finds out that it is not primary any more.
const rejoinKills = 2

// disturbRejoin kills whoever leads the old primary as soon as somebody does, and starts the node again.
func (r *run) disturbRejoin(ctx context.Context, old *localfleet.Region) error {
	for range rejoinKills {
		n, err := r.leader(ctx, old)
		if err != nil {
			return err
		}
		n.Kill()
		if err := n.Start(); err != nil {
			return err
		}
		r.line("killed %s, the leader of %s, while it rejoined, and started it again", n.Config.Name, old.Name)
	}
	return nil
}

// checkTail compares what was acknowledged with what both regions hold at the revision end, and what the rescue file of
// the old primary holds.
func (r *run) checkTail(
	ctx context.Context, old, next *localfleet.Region, writes []write, fork replication.Position, end int64,
) error {
	held, err := sameContents(ctx, next, old, r.prefix("failover"), end)
	if err != nil {
		return err
	}
	tail, err := r.exportTail(ctx, old, fork)
	if err != nil {
		return err
	}
	rescued := func(key string) bool { return tail[key] }
	acked, err := checkAcknowledged(writes, held, rescued)
	if err != nil {
		return err
	}
	attempted := map[string]bool{}
	inTail := 0
	for _, one := range writes {
		attempted[one.key] = true
		if one.err == nil && tail[one.key] {
			inTail++
		}
	}
	for key := range tail {
		if held[key] != nil {
			return fmt.Errorf("%s is in the tail and in the regions", key)
		}
		if !attempted[key] {
			return fmt.Errorf("%s is in the tail, but nobody wrote it", key)
		}
	}
	if inTail == 0 {
		return fmt.Errorf("no acknowledged write is in the tail: the test tested nothing")
	}
	r.line("of %d acknowledged writes %d are in both regions and %d in the rescue files of %s "+
		"(with %d that were not acknowledged); none is missing, none in both",
		acked, acked-inTail, inTail, old.Name, len(tail)-inTail)
	return nil
}

// exportTail returns the keys that the newest tail holds: every node of the old primary has a copy, and the first one
// is exported.
func (r *run) exportTail(
	ctx context.Context, old *localfleet.Region, fork replication.Position,
) (map[string]bool, error) {
	var tails []replication.TailInfo
	if err := r.await(ctx, "every node tells its tails", func(ctx context.Context) string { // also a slow one
		if err := r.operate(ctx, &tails, "tail", "list"); err != nil {
			return err.Error()
		}
		return ""
	}); err != nil {
		return nil, err
	}
	copies, name, commands := 0, "", uint64(0)
	for _, t := range tails {
		if t.Region != old.Name || t.Fork != fork || t.Damaged != "" {
			continue
		}
		if copies++; copies > 1 && (t.Name != name || t.Commands != commands) {
			return nil, fmt.Errorf("the copies of the tail differ: %+v", tails)
		}
		name, commands = t.Name, t.Commands
	}
	if copies != len(old.Nodes) {
		return nil, fmt.Errorf("%d copies of a tail after position %d, instead of one on each of %d nodes: %+v", copies,
			fork, len(old.Nodes), tails)
	}
	return r.readTail(ctx, name, fork, commands)
}

func (r *run) readTail(
	ctx context.Context, name string, fork replication.Position, commands uint64,
) (map[string]bool, error) {
	path := filepath.Join(r.Dir, name+".json")
	endpoints := strings.Join(localfleet.Clients(r.fleet.Nodes()), ",")
	status, _, errs, err := r.mimir(ctx, "tail", "export", name, "--to", path, "--endpoints", endpoints)
	if err != nil || status != 0 {
		return nil, fmt.Errorf("mimir tail export: exit status %d: %s %w", status, errs, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	keys, position := map[string]bool{}, fork // an expiry that the old primary decided has a position too, and no key
	for line := range strings.Lines(string(text)) {
		var w admin.Write
		var put struct{ Key []byte }
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(w.Request, &put); err != nil {
			return nil, err
		}
		if position++; w.Position != position || w.Op != "put" && w.Op != "lease-expiry" {
			return nil, fmt.Errorf("the tail has a %s at position %d where a put at %d was next", w.Op, w.Position,
				position)
		}
		if w.Op == "lease-expiry" {
			continue
		}
		if keys[string(put.Key)] {
			return nil, fmt.Errorf("the tail has %s twice", put.Key)
		}
		keys[string(put.Key)] = true
	}
	if has := uint64(position - fork); has != commands {
		return nil, fmt.Errorf("the tail has %d commands, and its list says %d", has, commands)
	}
	return keys, nil
}
