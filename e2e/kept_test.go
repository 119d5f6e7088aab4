package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// evidence is what is kept of a round that failed, beside the logs and data of all nodes, to explain it.
type evidence struct {
	Round  int
	Old    string // the primary when the round began
	Next   string
	Began  time.Time // of the pulse: times in the history are since then
	Struck time.Time
	Failed time.Time
	Nodes  map[string]any // what each says of itself: epochs, ballots, leases, positions; or why it does not
	Tails  any            // the rescue files that are left
}

// keep writes down what clients saw, in the order in which it ended, and what every node says of itself.
func (r *round) keep(ctx context.Context, history []operation) error {
	slices.SortStableFunc(history, func(a, b operation) int { return cmp.Compare(a.ended, b.ended) })
	var text strings.Builder
	for _, op := range history {
		fmt.Fprintf(&text, "%s block %d %+v\n", r.c.fleet.Nodes()[op.at].Config.Name, blockOf(op.revision), op)
	}
	e := evidence{
		Round: r.number, Old: r.old.Name, Next: r.next.Name, Began: r.pulse.began, Struck: r.struck, Failed: time.Now(),
		Nodes: map[string]any{},
	}
	for _, n := range r.c.fleet.Nodes() {
		node, err := ask(ctx, n)
		if e.Nodes[n.Config.Name] = any(node); err != nil {
			e.Nodes[n.Config.Name] = err.Error()
		}
	}
	_, out, errs, err := r.c.mimir(ctx, "tail", "list", "-o", "json", "--endpoints",
		r.c.fleet.Nodes()[0].Config.ListenClient+","+r.next.Nodes[0].Config.ListenClient)
	if e.Tails = json.RawMessage(out); !json.Valid([]byte(out)) {
		e.Tails = fmt.Sprint(out, errs, err)
	}
	all, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	files := []string{fmt.Sprintf("history-%d", r.number), fmt.Sprintf("states-%d.json", r.number)}
	for i, content := range []string{text.String(), string(all)} {
		if err := os.WriteFile(filepath.Join(r.c.Dir, files[i]), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return fmt.Errorf("what clients saw is in %s/%s, with times since %s, and what the nodes say in %s", r.c.Dir,
		files[0], r.pulse.began.Format(time.RFC3339Nano), files[1])
}
