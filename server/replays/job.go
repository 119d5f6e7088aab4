package replays

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/plain"
)

// Why a replay ends before its end.
var (
	ErrStopped = errors.New("it was stopped")
	ErrMoved   = errors.New("the primary moved")
	ErrLate    = errors.New("it did not get to its end in time")
	ErrClosed  = errors.New("the node ends")
	// ErrRefused says that nothing was begun.
	ErrRefused = errors.New("refused")
)

// job is one replay. It is safe for concurrent use.
type job struct {
	began time.Time
	stop  context.CancelCauseFunc
	over  chan struct{} // closed when nothing of it runs any more

	mu      sync.Mutex
	state   State
	moved   time.Time     // when something changed last
	changed chan struct{} // closed then
	err     error         // how it ended
}

func newJob(o Order, node, by string, stop context.CancelCauseFunc) *job {
	now := time.Now()
	j := &job{began: now, moved: now, stop: stop, over: make(chan struct{}), changed: make(chan struct{})}
	j.state = State{
		Replay: admin.Replay{Running: true, Tail: o.Tail, DryRun: o.DryRun, By: by}, Region: o.Region,
		Epoch: o.Epoch, Node: node, Doing: "asks who is primary", Writes: map[Group][]Write{},
	}
	return j
}

func (j *job) change(with func(*State)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	with(&j.state)
	j.moved = time.Now()
	close(j.changed)
	j.changed = make(chan struct{})
}

// now returns how it is, what is closed when that is another, and how it ended. Lists are told at the end.
func (j *job) now() (s State, changed <-chan struct{}, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s = j.state
	if s.Running {
		s.Seconds, s.Still, s.Writes = sinceSeconds(j.began), sinceSeconds(j.moved), nil
	}
	return s, j.changed, j.err
}

// end says how it ended.
func (j *job) end(err error) {
	j.change(func(s *State) {
		s.Running, s.Seconds, s.Doing = false, sinceSeconds(j.began), ""
		j.err = err
		switch {
		case err == nil:
			s.Done = true
		case errors.Is(err, ErrRefused):
			s.Refused, s.Error = true, strings.TrimPrefix(plain.Text(err), ErrRefused.Error()+": ")
		default:
			s.Error = plain.Text(err)
		}
	})
}

// run does what was ordered.
func (r *Runner) run(ctx context.Context, j *job, o Order, m *Means) error {
	place, err := r.begins(ctx, j, &o, m)
	if err != nil {
		return ended(ctx, err)
	}
	watching, done := context.WithCancel(ctx)
	defer done()
	go r.watchPlace(watching, j, place)
	return ended(ctx, r.options.Engine.Replay(ctx, m, o.Tail, o.DryRun, Teller{j}))
}

// ended is why it ended: what ended it, if something did.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil {
		return err
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return ErrLate
	}
	return cause
}

// place is who was primary.
type place struct {
	region string
	epoch  replication.Epoch
}

// begins says to whose history the tail is to be done. It refuses what is not to begin.
func (r *Runner) begins(ctx context.Context, j *job, o *Order, m *Means) (place, error) {
	bounded, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	fleet, err := m.Admin.Fleet(bounded)
	if err != nil {
		return place{}, fmt.Errorf("%w: who is primary: %w", ErrRefused, err)
	}
	now := place{fleet.Primary, fleet.Epoch}
	switch {
	case len(fleet.TakeWrites) == 0:
		return now, fmt.Errorf("%w: no region is known to take writes, so that what of the tail still applies is not "+
			"known either: see what is wrong, and look again when there is a primary", ErrRefused)
	case len(fleet.TakeWrites) > 1:
		return now, fmt.Errorf("%w: %s take writes, and each has another history: have them reach each other first",
			ErrRefused, strings.Join(fleet.TakeWrites, " and "))
	case fleet.TakeWrites[0] != fleet.Primary:
		return now, fmt.Errorf("%w: %s takes writes, and a later epoch is of %s: wait until one of them gives way",
			ErrRefused, fleet.TakeWrites[0], fleet.Primary)
	case !o.DryRun && (o.Region != now.region || o.Epoch != now.epoch):
		return now, fmt.Errorf("%w: %s of epoch %d was confirmed, and the primary is %s of epoch %d: look again what "+
			"would be done there", ErrRefused, o.Region, o.Epoch, now.region, now.epoch)
	}
	j.change(func(s *State) { s.Region, s.Epoch = now.region, now.epoch })
	if o.DryRun {
		return now, nil
	}
	return now, r.alone(bounded, j, m, fleet)
}

// alone refuses a replay beside another one of which a node tells.
func (r *Runner) alone(ctx context.Context, j *job, m *Means, fleet *replication.FleetStatus) error {
	Teller{j}.Doing("asks whether another node replays")
	type word struct {
		node  string
		under *admin.Replay
		err   error
	}
	words, asked := make(chan word), 0
	ask := func(n replication.NodeStatus) {
		ctx, cancel := context.WithTimeout(ctx, nodeTime)
		defer cancel()
		under, err := admin.ReplayAt(ctx, m.Admin.At(n.ClientURLs...))
		words <- word{n.Name, under, err}
	}
	for _, region := range fleet.Regions {
		for _, n := range region.Nodes {
			if n.Name != r.options.Node && n.Reachable && len(n.ClientURLs) > 0 {
				asked++
				go ask(n)
			}
		}
	}
	var other *word
	for range asked {
		if w := <-words; w.err == nil && w.under.Running && !w.under.DryRun {
			other = &w
		}
	}
	if other == nil {
		return nil
	}
	return fmt.Errorf("%w: node %s replays tail %s since %.0f s, ordered by %s: wait until that is over, or stop it "+
		"in the console of that node", ErrRefused, other.node, other.under.Tail, other.under.Seconds, other.under.By)
}

// watchPlace ends a replay when this node hears of a later epoch than it began in.
func (r *Runner) watchPlace(ctx context.Context, j *job, began place) {
	each := time.NewTicker(r.options.watch())
	defer each.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-each.C:
		}
		if region, epoch := r.options.Primary(); epoch > began.epoch {
			j.stop(fmt.Errorf("%w: it began with %s of epoch %d, and %s is primary of epoch %d now; look again what "+
				"of the tail still applies there", ErrMoved, began.region, began.epoch, region, epoch))
			return
		}
	}
}
