package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// Options are what Follow works with. From, To and Report must be set.
type Options struct {
	// From and To connect to the etcd and to the fleet.
	From, To sides.Dial
	// Poll is how often leases are compared, and Report is called. Default DefaultPoll.
	Poll time.Duration
	// Report is told how far it is.
	Report func(Progress)
	// Trouble is told why a session ended, before the next one is tried.
	Trouble func(error)
}

// DefaultPoll is the default of Options.Poll.
const DefaultPoll = time.Second

// Progress is how far a fleet has come.
type Progress struct {
	Revision int64 `json:"revision"` // of the fleet
	Etcd     int64 `json:"etcd"`     // the revision of the etcd a moment ago
	Leases   int   `json:"leases"`
}

const (
	// leastRest and mostRest are how long it rests before the next session.
	leastRest = 100 * time.Millisecond
	mostRest  = 5 * time.Second
	// mostParted is how often in turn what comes next may be refused. Whoever was killed may have left a batch on its
	// way, which is found then.
	mostParted = 5
)

// follower is one Follow.
type follower struct {
	Options
	cluster uint64 // of the etcd
	began   bool
	applied bool // something, in this session
}

// Follow applies to the fleet what is written to the etcd, until ctx ends, or Finish opens the fleet: then its error is
// nil. It tries again for ever what may get better.
func Follow(ctx context.Context, o Options) error {
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	f := &follower{Options: o}
	rest, parted := leastRest, 0
	for {
		f.applied = false
		err := f.session(ctx)
		if f.applied {
			rest, parted = leastRest, 0
		}
		if status.Code(err) == codes.Aborted {
			if parted++; parted == mostParted {
				err = fmt.Errorf("%w: the fleet refuses what comes next (%w): somebody else brings it something, or "+
					"it began with another etcd; %s", ErrParted, err, importAnew)
			}
		}
		switch {
		case errors.Is(err, errOpened):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isFinal(err):
			return err
		}
		if f.Trouble != nil {
			f.Trouble(err)
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
		rest = min(2*rest, mostRest)
	}
}

// session follows with one connection to each side.
func (f *follower) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	etcd, leave, err := sides.Connect(ctx, "the etcd", nil, f.From, 1)
	if err != nil {
		return fmt.Errorf("the etcd: %w", err)
	}
	defer leave()
	fleet, leave, err := sides.Connect(ctx, "the fleet", nil, f.To, 1)
	if err != nil {
		return fmt.Errorf("the fleet: %w", err)
	}
	defer leave()
	s := &session{follower: f, cancel: cancel, etcd: etcd, fleet: fleet}
	if err := s.begin(ctx); err != nil {
		return err
	}
	f.began = true
	return s.run(ctx)
}
