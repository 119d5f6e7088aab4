package replay

import (
	"context"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// Options say what is replayed.
type Options struct {
	Fork Fork
	// DryRun decides and changes nothing.
	DryRun bool
	// Only are the keys that may be written, each exactly or, with an end of "/" or "*", all that begin so; none: all.
	Only []string
	// MaxOps is how many operations, or comparisons, a transaction may have. A command that needs more is a conflict.
	MaxOps int
	// MaxBytes is how large a transaction may be, encoded. 0: as the fleet says.
	MaxBytes int
	// MaxHeld is how many bytes of keys, values and leases that the tail touches may be held. 0: as many as there are.
	MaxHeld int64
	// Report is told what became of each command, in order.
	Report func(*Entry) error
	// Progress is told how many commands were looked at, in the first pass and then in the second.
	Progress func(pass int, commands uint64)
}

// Run decides each command of a tail against the history of today, and does what still applies. Any error ends it; it
// can be run again.
func Run(ctx context.Context, tail Tail, fleet Fleet, o Options) (*Summary, error) {
	r := &run{Options: o, overlay: newOverlay(fleet, o.Fork), granted: map[int64]bool{}, grants: map[int64]int64{}}
	r.most = o.MaxHeld
	for again := true; again; again = r.late {
		r.reset()
		if err := r.pass(ctx, 1, tail, func(context.Context, *Command, *effect) error { return nil }); err != nil {
			return nil, err
		}
	}
	r.settle()
	r.reset()
	if err := r.pass(ctx, 2, tail, r.decide); err != nil {
		return nil, err
	}
	return &r.summary, nil
}

type run struct {
	Options
	*overlay
	summary Summary
	granted map[int64]bool  // leases that are there today because of this run
	grants  map[int64]int64 // leases that were left out, with their time to live
}

// Commands are taken together, so that what they name is looked up together: so many, or so many bytes of them.
const (
	mostTogether  = 32
	bytesTogether = 1 << 20
)

func (r *run) pass(
	ctx context.Context, number int, tail Tail, each func(context.Context, *Command, *effect) error,
) error {
	count, bytes := uint64(0), 0
	var waiting []*Command
	flush := func() error {
		if err := r.touch(ctx, namesOf(waiting)...); err != nil {
			return err
		}
		for _, c := range waiting {
			e, err := r.do(ctx, c)
			if err == nil {
				err = each(ctx, c, e)
			}
			if err != nil {
				return fmt.Errorf("command at %s: %w", c.place(), err)
			}
			if count++; r.Progress != nil {
				r.Progress(number, count)
			}
		}
		waiting, bytes = waiting[:0], 0
		return nil
	}
	err := tail(ctx, func(c *Command) error {
		waiting = append(waiting, c)
		if c.Request != nil {
			bytes += proto.Size(c.Request)
		}
		if len(waiting) < mostTogether && bytes < bytesTogether {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// namesOf returns the single keys that commands name.
func namesOf(commands []*Command) (names []string) {
	for _, c := range commands {
		note := func(sp command.Span) {
			if sp.Single() {
				names = append(names, string(sp.Start))
			}
		}
		switch q := c.Request.(type) {
		case *pb.PutRequest:
			note(command.SpanOf(q.Key, nil))
		case *pb.DeleteRangeRequest:
			note(command.SpanOf(q.Key, q.RangeEnd))
		case *pb.TxnRequest:
			comparisons(q, note)
			operations(q, func(_ *pb.PutRequest, sp command.Span) { note(sp) })
		}
	}
	return names
}

func (c *Command) place() string {
	if c.Position == 0 {
		return fmt.Sprintf("revision %d", c.Revision)
	}
	return fmt.Sprintf("position %d", c.Position)
}

// selects reports whether a key may be written.
func (r *run) selects(name string) bool {
	for _, only := range r.Only {
		prefix := strings.TrimSuffix(only, "*")
		if name == only || strings.HasSuffix(only, "*") && strings.HasPrefix(name, prefix) ||
			strings.HasSuffix(only, "/") && strings.HasPrefix(name, only) {
			return true
		}
	}
	return len(r.Only) == 0
}
