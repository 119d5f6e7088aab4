package laggate

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
)

const (
	// every is how often it is looked.
	every = 200 * time.Millisecond
	// quiet is for how long nothing was held back before it is told that nothing is; and what changes to and fro is
	// told no more often.
	quiet = 10 * time.Second
	// moment is for how long a node may take no writes and still know when what was written was there, but for so much.
	moment = time.Second
)

// Place is where a region is.
type Place struct {
	Region   string
	Position contract.Position // up to which it has the history
	Bytes    int64             // of log behind that
	Unkept   bool              // the log does not reach back so far
}

// Config is what a Gate needs. All fields are required.
type Config struct {
	// Limits returns what holds now. It must not block.
	Limits func() Limits
	// Places returns where the history ends, and where the other regions are, if this node takes the fleet's writes.
	Places func() (end contract.Position, regions []Place, leads bool)
	Clock  clock.Clock
	Logger *slog.Logger
}

// Gate is safe for concurrent use.
type Gate struct {
	config  Config
	verdict atomic.Pointer[Verdict]

	// Of Run alone.
	ages    ages
	away    time.Time         // from when on this node was found to take no writes; zero: it takes them
	left    contract.Position // where the history ended then
	last    time.Time         // when something was held back last
	told    string            // the kind of verdict that was logged last; "": nothing is held back
	said    time.Time         // when
	refused bool              // that writes are refused was told, since something is held back
}

// New returns a Gate that is open before Run.
func New(c Config) *Gate {
	g := &Gate{config: c}
	g.verdict.Store(&Verdict{})
	return g
}

// Verdict returns what is to be done with writes now. It does not block.
func (g *Gate) Verdict() Verdict { return *g.verdict.Load() }

// Run looks again and again until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	ticker := g.config.Clock.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			g.look()
		}
	}
}

func (g *Gate) look() {
	l := g.config.Limits()
	if l.none() {
		g.ages = ages{}
		g.settle(Verdict{})
		return
	}
	now := g.config.Clock.Now()
	end, places, leads := g.config.Places()
	if !leads {
		if g.away.IsZero() {
			g.away = now
		}
		if now.Sub(g.away) <= moment { // what was on its way comes yet
			g.left = end
		}
		g.settle(Verdict{})
		return
	}
	if !g.away.IsZero() && now.Sub(g.away) > moment && g.left != end {
		g.ages = ages{} // somebody else has written, nobody knows when
	}
	g.away = time.Time{}
	g.ages.note(now, end)
	regions := make([]Behind, 0, len(places))
	for _, p := range places {
		b := Behind{Region: p.Region, Unkept: p.Unkept}
		if p.Position < end {
			b.Bytes, b.Age = p.Bytes, g.ages.of(now, p.Position)
		}
		regions = append(regions, b)
	}
	g.settle(judge(l, regions))
}

// settle has v hold, and tells the log when it is another kind than before.
func (g *Gate) settle(v Verdict) {
	g.verdict.Store(&v)
	now := g.config.Clock.Now()
	switch kind := v.kind(); {
	case kind != "":
		g.last = now
		if kind != g.told && (g.told == "" || now.Sub(g.said) >= quiet || v.Refuse != nil && !g.refused) {
			g.config.Logger.Warn("writes are "+kind+" by the lag gate", "lag", v.Why)
			g.told, g.said, g.refused = kind, now, g.refused || v.Refuse != nil
		}
	case g.told != "" && now.Sub(g.last) >= quiet:
		g.config.Logger.Info("the lag gate holds back no writes any more")
		g.told, g.refused = "", false
	}
}

// kind says what is done with writes, "" for nothing.
func (v Verdict) kind() string {
	switch {
	case v.Refuse != nil:
		return "refused"
	case v.Delay > 0:
		return "slowed down"
	default:
		return ""
	}
}
