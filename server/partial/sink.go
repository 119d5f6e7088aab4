package partial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/clock"
)

// SinkConfig is what a Sink is made of. All must be set but the clock.
type SinkConfig struct {
	Place  *Place
	Links  *Links
	Node   string
	Secret func() (string, error) // that is shown, read anew for each session
	// CompareEvery is how often what is held is compared with the source's, 0 for never but after a copy.
	CompareEvery time.Duration
	Logger       *slog.Logger
	// Clock counts how old things are, also while the machine is suspended. Default: the machine's.
	Clock clock.Clock
}

// Sink brings what the source has into a Place. It is safe for concurrent use.
type Sink struct {
	SinkConfig

	mu    sync.Mutex
	state Standing
	notes []sentNote // on their way
	// echoed is when the last note was sent that the source had when it last said what it has, and fresh when this node
	// had everything; zero: not known.
	echoed, fresh time.Duration
	shown         chan struct{}
	why           string // told last
	// compared is when sums were last asked for, and suspect that they differed.
	compared time.Time
	suspect  bool
}

// sentNote is a note, and when it was sent, as the clock counts.
type sentNote struct {
	id uint64
	at time.Duration
}

// Standing is how a node of a partial region is, as it knows itself.
type Standing struct {
	Fleet    string   `json:"fleet"`
	Region   string   `json:"region"`
	Node     string   `json:"node"`
	Prefixes []string `json:"prefixes"`
	// Shows says that it may show what it holds; else Problem says why not, as it does where nothing new comes, or
	// users and roles keep everybody out.
	Shows   bool   `json:"shows"`
	Problem string `json:"problem,omitempty"`
	// Source is the node that it follows, of region SourceRegion, by Endpoint; empty: none now.
	Source       string `json:"source,omitempty"`
	SourceRegion string `json:"sourceRegion,omitempty"`
	Endpoint     string `json:"endpoint"`
	// Copying says that a copy comes, of which there are so many keys.
	Copying    bool  `json:"copying,omitempty"`
	CopiedKeys int64 `json:"copiedKeys,omitempty"`
	// Revision is what it has, and Newest what its source had when it last said so.
	Revision        int64 `json:"revision"`
	CompactRevision int64 `json:"compactRevision"`
	Newest          int64 `json:"newest"`
	// LagSeconds is an upper bound of how old that is at the primary; negative: it is not known.
	LagSeconds float64 `json:"lagSeconds"`
	// Auth says that who reads has to show who he is.
	Auth bool `json:"auth,omitempty"`
	// Copies is how many copies were installed since it started, and Sessions how often a source was begun with.
	Copies   uint64 `json:"copies"`
	Sessions uint64 `json:"sessions"`
	// Compared is when and at which revision sums were last equal, Differed how often they were not.
	Compared   time.Time `json:"compared,omitzero"`
	ComparedAt int64     `json:"comparedAt,omitempty"`
	// ComparedKeys is how many keys that were.
	ComparedKeys int64  `json:"comparedKeys,omitempty"`
	Differed     uint64 `json:"differed,omitempty"`
}

const (
	leastRest, mostRest = 100 * time.Millisecond, 2 * time.Second
	// silence is for how long a source may say nothing: it says something every second.
	silence = 10 * time.Second
	// mostBehind is how old what a source has may be before another one is looked for, if there is one.
	mostBehind = 10 * time.Second
)

// Errors after which what is held is of no use, or does not lead on.
var (
	errParted    = errors.New("what is held here is of a history that a failover cut off, or not what the source has")
	errCompacted = errors.New("what comes behind what is held here is compacted at the source")
	errElsewhere = errors.New("another node of the fleet is looked for")
)

// NewSink returns a sink. It starts nothing.
func NewSink(c SinkConfig) *Sink {
	o := &c.Place.options
	s := &Sink{SinkConfig: c, shown: make(chan struct{})}
	if s.Clock == nil {
		s.Clock = clock.Real
	}
	s.state = Standing{Fleet: o.Fleet, Region: o.Region, Node: c.Node, Prefixes: o.Prefixes.Texts(),
		Problem: "no source was reached yet"}
	if c.Place.isSound() {
		s.show(true)
	}
	return s
}

// Run follows whoever gives until ctx ends.
func (s *Sink) Run(ctx context.Context) {
	rest, anew, vain := leastRest, !s.Place.leadsOn(), 0
	for ctx.Err() == nil {
		began, copies := s.Clock.Elapsed(), anew
		came, err := s.session(ctx, anew)
		if ctx.Err() != nil {
			return
		}
		wait := time.Duration(0)
		switch took := s.Clock.Elapsed() - began; {
		case came.behind:
			vain = 0
		case copies && came.any && errors.Is(err, errCompacted):
			vain++
			wait = vainRest(vain)
			err = fmt.Errorf("%w: a copy was here after %v, and the fleet keeps its history for less; raise "+
				"auto-compaction-retention, or compact less often, or give the way here more bytes a second", err,
				took.Round(time.Second))
		}
		if came.any {
			rest, anew = leastRest, false
		}
		switch {
		case errors.Is(err, errParted), errors.Is(err, command.ErrParted):
			anew = true
			s.show(false)
			if failed := s.Place.setParted(true); failed != nil {
				s.Logger.Warn("that what is held is of no use cannot be noted: a start would show it", "err", failed)
			}
		case errors.Is(err, errCompacted):
			anew = true
		case errors.Is(err, errElsewhere):
			rest = leastRest
			s.Links.next()
		default:
			s.Links.next()
		}
		s.trouble(err)
		select {
		case <-time.After(max(rest, wait)):
		case <-ctx.Done():
		}
		rest = min(2*rest, mostRest)
	}
}

// vainRest is the rest behind so many copies in a row behind which nothing was left: each is as large as all that is
// followed, and the next one may come to as little.
func vainRest(copies int) time.Duration {
	return time.Duration(min(max(copies-1, 0), 5)) * time.Minute
}

// trouble notes why nothing comes, and tells the log once.
func (s *Sink) trouble(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Source, s.state.SourceRegion, s.state.Copying, s.state.CopiedKeys = "", "", false, 0
	s.state.Problem = err.Error()
	if s.why != s.state.Problem {
		s.why = s.state.Problem
		s.Logger.Warn("nothing comes from the fleet", "err", err)
	}
}

// judged is what a session ended with, as what becomes of it.
func judged(err error) error {
	switch status.Code(err) {
	case codes.Aborted:
		return fmt.Errorf("%w: %w", errParted, err)
	case codes.OutOfRange:
		return fmt.Errorf("%w: %w", errCompacted, err)
	}
	return err
}

// show says whether what is held may be shown.
func (s *Sink) show(may bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Shows == may {
		return
	}
	s.state.Shows = may
	s.Place.setSound(may)
	if may {
		close(s.shown)
	} else {
		s.shown = make(chan struct{})
	}
}

// Shown returns once what is held may be shown, or the error of ctx with what is waited for.
func (s *Sink) Shown(ctx context.Context) error {
	s.mu.Lock()
	shown, why := s.shown, s.problem()
	s.mu.Unlock()
	select {
	case <-shown:
		return nil
	default:
	}
	select {
	case <-shown:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: this node has not come to where the fleet is since it started, or takes a copy: %s",
			ctx.Err(), why)
	}
}

// aheadProblem says why nobody is answered who has to show who he is.
const aheadProblem = "the users and roles that were heard of are newer than those of the fleet, so that it answers " +
	"nobody who reads here: if it was restored under its name, begin with an empty directory"

// problem says why nothing is shown, or nothing comes, or nobody may read it; "" if all is well. mu is held.
func (s *Sink) problem() string {
	switch {
	case s.state.Problem == "" && s.Place.isAhead():
		return aheadProblem
	case s.state.Problem != "" || s.state.Shows:
		return s.state.Problem
	case s.state.Copying:
		return "a copy comes, and is not whole yet"
	}
	return "it has not come to where the fleet is yet"
}

// Standing returns how it is.
func (s *Sink) Standing() Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	st.Problem = s.problem()
	st.Revision, st.CompactRevision = s.Place.store.Revision(), s.Place.store.CompactRevision()
	st.Endpoint, _ = s.Links.now()
	st.Auth, st.LagSeconds = s.Place.Rights().Enabled, -1
	if s.fresh != 0 {
		st.LagSeconds = (s.Clock.Elapsed() - s.fresh).Seconds()
	}
	return st
}

// Connected reports whether a source is followed.
func (s *Sink) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Source != ""
}

// Prefixes returns what is followed.
func (s *Sink) Prefixes() Prefixes { return s.Place.options.Prefixes }
