package replays

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/operator"
)

// Means are what a replay is done with, in the name of whoever ordered it.
type Means struct {
	// Admin asks this node first, and the others.
	Admin *admin.Client
	// Dial connects to the etcd API of this node, and Token is what to show there; may be empty.
	Dial  func(ctx context.Context) (net.Conn, error)
	Token string
	// MaxOps and MaxBytes bound a transaction.
	MaxOps, MaxBytes int
	// Close lets go of them.
	Close func()
}

// Engine decides and replays tails. It is safe for concurrent use.
type Engine interface {
	// Tails returns those of all nodes that can be asked.
	Tails(ctx context.Context, m *Means) (*List, error)
	// Writes returns the first writes of a tail.
	Writes(ctx context.Context, m *Means, tail string, most int) ([]*admin.Write, error)
	// Replay decides each command of a tail, and does what still applies unless it is a dry run. It tells how it goes.
	Replay(ctx context.Context, m *Means, tail string, dry bool, to Teller) error
}

// Options of a Runner. All must be set but the bounds.
type Options struct {
	Engine Engine
	// Means returns those of whoever makes a request. The caller closes them.
	Means func(r *http.Request) (*Means, error)
	// Primary is who is primary, as this node has it.
	Primary func() (region string, epoch replication.Epoch)
	Node    string
	// Ended is told of every replay that was to change something, when it is over.
	Ended func(by, what string, epoch replication.Epoch, err error)
	// Lasts is how long one may take. Default DefaultLasts.
	Lasts time.Duration
	// Watch is how often it is looked whether the primary moved. Default DefaultWatch.
	Watch time.Duration
}

// Bounds of replays.
const (
	DefaultLasts = time.Hour
	DefaultWatch = 250 * time.Millisecond

	askTime    = 15 * time.Second       // for who is primary, and whether others replay
	nodeTime   = 2 * time.Second        // for one node's word of that
	tellEvery  = 250 * time.Millisecond // at most
	tellAgain  = time.Second            // at least
	MostShown  = 100                    // writes of a tail
	lookTime   = 5 * time.Minute        // for tails and what they hold: a node reads them whole
	closeTime  = time.Second
	mostBody   = 64 << 10
	noneBefore = "no replay was ordered here since this node started"
)

func (o *Options) watch() time.Duration {
	if o.Watch == 0 {
		return DefaultWatch
	}
	return o.Watch
}

func (o *Options) lasts() time.Duration {
	if o.Lasts == 0 {
		return DefaultLasts
	}
	return o.Lasts
}

// Runner replays tails, one at a time. It is safe for concurrent use.
type Runner struct {
	options Options

	mu     sync.Mutex
	last   *job // under way, or the one before; nil if there was none
	closed bool
}

// New returns a Runner that does nothing before it is asked to.
func New(o Options) *Runner { return &Runner{options: o} }

// Close ends the replay under way, for which it waits a second at most, and lets none begin any more.
func (r *Runner) Close() {
	r.mu.Lock()
	r.closed = true
	last := r.last
	r.mu.Unlock()
	if last == nil {
		return
	}
	last.stop(fmt.Errorf("%w: run it again at another one", ErrClosed))
	patience := time.NewTimer(closeTime)
	defer patience.Stop()
	select {
	case <-last.over:
	case <-patience.C:
	}
}

// errBusy says that this node replays already.
var errBusy = errors.New("this node replays already")

// begin makes the replay that is under way of an order, and the context in which it runs: it goes on when whoever
// ordered it hangs up.
func (r *Runner) begin(req *http.Request, o Order) (*job, context.Context, context.CancelFunc, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, nil, ErrClosed
	}
	if r.last != nil {
		if s, _, _ := r.last.now(); s.Running {
			what := "replays"
			if s.DryRun {
				what = "looks what a replay would do of"
			}
			return nil, nil, nil, fmt.Errorf("%w: it %s tail %s since %.0f s, ordered by %s; wait until that is over, "+
				"or stop it", errBusy, what, s.Tail, s.Seconds, s.By)
		}
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), r.options.lasts())
	ctx, stop := context.WithCancelCause(late)
	r.last = newJob(o, r.options.Node, operator.Who(req.Context()), stop)
	return r.last, ctx, func() { stop(nil); cancel() }, nil
}

// known returns the replay under way, or the last one, nil if there was none.
func (r *Runner) known() *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}
