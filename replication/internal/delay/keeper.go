package delay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/tail"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Controls takes controls to the region's log.
type Controls interface {
	Control(ctx context.Context, c *timeline.Control) (region.Outcome, error)
}

// Config is what a Keeper needs. All but Revision are required.
type Config struct {
	Region     string
	Delay      time.Duration // zero: the region shows everything
	Bytes      int64         // of history that are held back at most
	Applied    *region.Applied
	Leadership *region.Leadership
	Controls   Controls
	Log        tail.Log
	Clock      clock.Clock
	Logger     *slog.Logger
	// Level asks the other nodes of the region, and returns the lowest level; one that does not answer counts as the
	// oldest.
	Level func(ctx context.Context) timeline.Level
	// Revision returns what the embedder counts of its own, which a command raises by one at most and only the
	// beginning of a reign by more; nil: nothing.
	Revision func() int64
	Timeout  time.Duration // of one question, and of writing to the log
}

// Keeper keeps the region late while this node leads it. It is safe for concurrent use.
type Keeper struct {
	config Config
	wake   wake.Signal

	mu       sync.Mutex
	waiting  int       // calls that wait until everything is shown
	released time.Time // until then everything is shown, in the epoch until: what it is for ends that
	until    timeline.Epoch
	orders   int       // to begin in what is not shown: while there are any, nothing more is
	held     time.Time // until then nothing more is shown because of its age
	tooOld   bool      // a node of the region, when it was asked last
}

// New returns a Keeper that does nothing before Run.
func New(c Config) *Keeper { return &Keeper{config: c, wake: wake.New()} }

// every is how often it is looked: the history is noted to have come so exactly.
func (k *Keeper) every() time.Duration {
	if k.config.Delay == 0 {
		return time.Second
	}
	return min(max(k.config.Delay/20, 100*time.Millisecond), time.Second)
}

// Run looks now and then, until ctx ends. The node's life runs it.
func (k *Keeper) Run(ctx context.Context) {
	ticker := k.config.Clock.NewTicker(k.every())
	defer ticker.Stop()
	for {
		if k.step(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-ticker.C():
		}
	}
}

// step proposes what is due, and reports whether it was applied and more of it is to follow at once.
func (k *Keeper) step(ctx context.Context) (again bool) {
	if ctx.Err() != nil || !k.config.Leadership.Leads() {
		return false
	}
	v, p := k.config.Applied.View(), k.policy()
	c := plan(v, p, k.config.Clock.Now())
	if c == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	before := v.State.Delay
	if before == nil && !k.understood(ctx) {
		return false
	}
	strides := before != nil && c.Op == timeline.OpDelay && c.Shown == farthest(v)
	if strides {
		c.Shown = max(k.whole(v, c.Shown), before.Shown+1)
	}
	o, err := k.config.Controls.Control(ctx, c)
	if err != nil || o.Outcome != timeline.Applied {
		return false
	}
	switch {
	case c.Op == timeline.OpUndelay:
		k.config.Logger.Info("the region shows everything that it has")
	case before == nil:
		k.config.Logger.Info("the region shows its history late from here on", "delay", k.config.Delay,
			"position", c.Receipt.Position)
	}
	all := (p.delay == 0 || p.released) && before != nil && c.Shown > before.Shown
	return strides || all && k.behind()
}

func (k *Keeper) behind() bool {
	v := k.config.Applied.View()
	return v.State.Delay != nil && v.Shown.Position < v.State.Cursor.Position
}

// whole returns where the last whole frame ends that does not go beyond to; to, if there is none, or the log does not
// tell.
func (k *Keeper) whole(v *region.View, to timeline.Position) timeline.Position {
	end, err := k.lastEnd(v, to)
	if err != nil || end == v.Shown.Position {
		return to
	}
	return end
}

func (k *Keeper) policy() policy {
	epoch := k.config.Applied.State().Cursor.Epoch
	k.mu.Lock()
	defer k.mu.Unlock()
	p := policy{delay: k.config.Delay, bytes: uint64(k.config.Bytes)}
	p.released = k.waiting > 0 || k.until == epoch && k.config.Clock.Now().Before(k.released)
	p.held = k.orders > 0 || !p.released && k.config.Clock.Now().Before(k.held)
	return p
}

// understood reports whether all nodes of the region say that they know what a delay is: one that is silent may be too
// old, and would end when it came to that. A delay can wait.
func (k *Keeper) understood(ctx context.Context) bool {
	old := k.config.Level(ctx) < timeline.LevelDelay
	k.mu.Lock()
	defer k.mu.Unlock()
	if old && !k.tooOld {
		k.config.Logger.Warn("the region shows everything: a node of it does not answer, or runs a version that " +
			"knows no delay; start it, upgrade it, or remove it")
	}
	k.tooOld = old
	return !old
}

// ByOrderAlone reports whether this node's region becomes primary by order alone: it shows its history late, or is to.
func (k *Keeper) ByOrderAlone() bool {
	return k.config.Delay > 0 || k.config.Applied.State().Delay != nil
}

// Status returns how late the region is, as this node sees it; nil if it is not.
func (k *Keeper) Status() *fleet.Late {
	v := k.config.Applied.View()
	if v.State.Delay == nil {
		return nil
	}
	p := k.policy()
	s := &fleet.Late{Delay: p.delay, Shown: v.Shown.Position, Of: Shows(v), Released: p.released}
	s.Full = len(v.Receipts) > 0 && v.Bytes-v.Receipts[0].Bytes > p.bytes
	return s
}
