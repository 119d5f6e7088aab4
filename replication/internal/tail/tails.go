package tail

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Ask asks a node for what it has saved.
const Ask = peer.Question[peer.Nothing, []Info]("tails")

// Info describes a rescue file of one node.
type Info struct {
	Name string `json:"name"`
	rescue.Header
	rescue.Counts
	Damaged string `json:"damaged,omitempty"` // why it cannot be read
}

// Config is what Tails is made of. Every field is required.
type Config struct {
	Fleet, Region, Node string
	FS                  durable.FS
	Dir                 string // of the rescue files; nothing else is there
	Clock               clock.Clock
	Logger              *slog.Logger
}

// Tails is what one node has saved. It is safe for concurrent use.
type Tails struct{ config Config }

// New returns what is in the directory.
func New(c Config) *Tails { return &Tails{c} }

// Register registers the answers to what other nodes ask.
func (t *Tails) Register(r *peer.Registry) {
	peer.Handle(r, Ask, func(context.Context, peer.Nothing) ([]Info, error) { return t.List() })
}

// List describes the rescue files of this node, by name.
func (t *Tails) List() ([]Info, error) {
	names, err := rescue.List(t.config.FS, t.config.Dir)
	if err != nil {
		return nil, err
	}
	tails := make([]Info, 0, len(names))
	for _, name := range names {
		i := Info{Name: name}
		if i.Counts, i.Header, err = rescue.Scan(t.config.FS, t.config.Dir, name, nil); err != nil {
			i.Damaged = err.Error()
		}
		tails = append(tails, i)
	}
	return tails, nil
}

// Read calls visit with each command of a rescue file, in order. Errors: rescue.ErrNotFound, rescue.ErrDamaged, the
// cause of ctx, and what visit returns.
func (t *Tails) Read(
	ctx context.Context, name string, visit func(timeline.Epoch, timeline.Position, contract.Command) error,
) error {
	var f timeline.Frame
	_, _, err := rescue.Scan(t.config.FS, t.config.Dir, name, func(payload []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if h, _ := timeline.ReadHeader(payload); h.Kind != timeline.KindFrame {
			return nil
		}
		if err := timeline.DecodeFrame(payload, &f); err != nil {
			return fmt.Errorf("%w: %w", rescue.ErrDamaged, err)
		}
		for i, c := range f.Commands {
			if err := visit(
				f.Epoch, f.First+timeline.Position(i), contract.Command{Data: slices.Clone(c.Data)},
			); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
