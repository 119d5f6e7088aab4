package mirror

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup/sides"
)

// Options are what Run works with. From, To and Report must be set.
type Options struct {
	// From and To connect to the fleet and to the etcd.
	From, To sides.Dial
	// Prefix is of the keys that are mirrored, "" for all, and ToPrefix takes its place in the etcd. A key that would
	// be empty there, or under one of this package, is left out.
	Prefix, ToPrefix string
	// Overwrite takes what is in the etcd under ToPrefix, and was put by no mirror, for what is to be brought in line.
	Overwrite bool
	// MostOps is how many operations the etcd takes in one transaction, LeastOps at least. Default DefaultMostOps.
	MostOps int
	// Poll is how often it is looked which leases are to be kept alive, and Report is called. Every lookPolls of them
	// it is looked who writes there, and which leases the fleet has. Default DefaultPoll.
	Poll time.Duration
	// Report is told how far it is.
	Report func(Progress)
	// Trouble is told why a session ended, before the next one is tried, and what is compared anew.
	Trouble func(error)
}

// Bounds and defaults of Options.
const (
	LeastOps       = 2   // one change, and the place
	DefaultMostOps = 128 // of etcd
	DefaultPoll    = time.Second
)

// Progress is how far a mirror has come.
type Progress struct {
	Revision  int64 `json:"revision"` // of the fleet, that the etcd has, or had before it was compared; 0: unknown
	Fleet     int64 `json:"fleet"`    // the revision of the fleet a moment ago
	Leases    int   `json:"leases"`
	Comparing bool  `json:"comparing"` // something may be missing: both are compared, or it is looked what has ended
	Compared  int64 `json:"compared"`  // keys, since that was begun last
	Changed   int64 `json:"changed"`   // changes that were made, by this process
}

// Whole reports whether all that the fleet had a moment ago is in the etcd.
func (p Progress) Whole() bool { return !p.Comparing && p.Revision >= p.Fleet }

// Errors after which to go on is of no use.
var (
	// ErrOvertaken says that another mirror was started, which goes on.
	ErrOvertaken = errors.New("another mirror writes there")
	// ErrOccupied says that there is something of somebody else where the mirror is to be.
	ErrOccupied = errors.New("the etcd has keys there that no mirror has put")
	// ErrForeign says that what is mirrored there is something else.
	ErrForeign = errors.New("something else is mirrored there")
	// ErrItself says that what is mirrored would change what is to be mirrored.
	ErrItself = errors.New("it would be mirrored to itself")
	// ErrRefused says that the etcd does not take what is to be put.
	ErrRefused = errors.New("the etcd refuses it")
)

const (
	leastRest = 100 * time.Millisecond
	mostRest  = 5 * time.Second
)

// mirror is one Run.
type mirror struct {
	Options
	run string // tells it from all others
	// over is the Run that this one takes the place of: what stood there when it was read first. It is its own once it
	// has written, so that every other one was started later.
	over    string
	read    bool // the place was
	emptied bool // it was told that a key is left out
	changed int64
	// patience is for how long an endpoint of the fleet may say nothing of what was mirrored last.
	patience time.Duration
	ledger   *ledger // of leases, over all sessions
	// keeping ends what keeps leases alive, and its connection to the etcd, which is that of the last session.
	keeping func()
}

// overtaken reports whether a place is of a mirror that was started later.
func (m *mirror) overtaken(p placed) bool { return p.mod != 0 && p.Run != m.run && p.Run != m.over }

// Run mirrors until ctx ends, or something happens after which to go on is of no use. It tries again for ever what may
// get better.
func Run(ctx context.Context, o Options) error {
	if o.MostOps < LeastOps {
		o.MostOps = DefaultMostOps
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	m := &mirror{Options: o, run: rand.Text(), patience: sides.AnswerTime, ledger: newLedger(), keeping: func() {}}
	defer func() { m.keeping() }()
	for rest := leastRest; ; rest = min(2*rest, mostRest) {
		before := m.changed
		err := m.session(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case isFinal(err):
			return err
		}
		m.tell(err)
		if m.changed > before {
			rest = leastRest
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *mirror) tell(err error) {
	if m.Trouble != nil {
		m.Trouble(err)
	}
}

func isFinal(err error) bool {
	for _, final := range []error{ErrOvertaken, ErrOccupied, ErrForeign, ErrItself, ErrRefused} {
		if errors.Is(err, final) {
			return true
		}
	}
	switch status.Code(err) {
	case codes.PermissionDenied, codes.Unimplemented:
		return true
	}
	return false
}

// session mirrors with one connection to each side.
func (m *mirror) session(ctx context.Context) error {
	etcd, leave, err := sides.Connect(ctx, "the etcd", placeKey(m.ToPrefix), m.To, 1)
	if err != nil {
		return fmt.Errorf("the etcd: %w", err)
	}
	m.keepBy(ctx, etcd, leave)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, _ := sides.RangeOf(m.Prefix)
	fleet, leave, err := sides.Connect(ctx, "the fleet", first, m.From, 1)
	if err != nil {
		return cmp.Or(m.ours(ctx, etcd), fmt.Errorf("the fleet: %w", err))
	}
	defer leave()
	s := &session{mirror: m, fleet: fleet, etcd: etcd}
	s.fleet.Conn = believed{fleet.Conn, s}
	s.leases = newLeases(s.fleet, etcd, m.ToPrefix, m.ledger)
	s.leases.anew()
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.follow(ctx)
}

// keepBy has leases kept alive by a connection to the etcd until there is another one, or the mirror ends: beside a
// session, and where there is none, since the fleet does not answer. Behind that leave is called.
func (m *mirror) keepBy(ctx context.Context, etcd sides.Side, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		newLeases(sides.Side{}, etcd, m.ToPrefix, m.ledger).keep(ctx, m.Poll)
		close(ended)
	}()
	m.keeping()
	m.keeping = func() {
		cancel()
		<-ended
		leave()
	}
}

// ours returns ErrOvertaken if it is known that another mirror was started, whose leases they are then that are kept
// alive.
func (m *mirror) ours(ctx context.Context, etcd sides.Side) error {
	if !m.read {
		return nil
	}
	now, err := readPlace(ctx, etcd, m.ToPrefix)
	if err != nil || !m.overtaken(now) {
		return nil //nolint:nilerr // what keeps it from being known is told by who needs the etcd
	}
	return m.changedTo(now)
}
