package secondary

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/progress"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// settleEvery is how often a stream that has ended looks whether what it proposed is applied.
const settleEvery = 20 * time.Millisecond

// Group is the region's Raft group. It is safe for concurrent use.
type Group interface {
	// Propose takes entries to the log if this node leads term, and returns the index of the first.
	Propose(ctx context.Context, term uint64, payloads [][]byte) (uint64, error)
	// Voters returns the Raft identities of those whose majority decides.
	Voters() []uint64
}

// Copies keeps copies of other regions' states on this node. It is safe for concurrent use.
type Copies interface {
	// Fetch gets a copy from the node at addr whose history has at least the epoch minEpoch, and keeps it for as long
	// as the leader of term can propose to install it. fits says why the copy is of no use, by the region whose state
	// it is and by what it is, before anything of it comes.
	Fetch(ctx context.Context, addr string, minEpoch timeline.Epoch, term uint64,
		fits func(region string, c *succession.Copy) error, progress func(checkpoint.Progress)) (succession.Copy, error)
	// Held returns a copy that a node of this region has complete already, and brings it here; nil if there is none
	// that fits.
	Held(ctx context.Context, w Wanted, progress func(addr string, p checkpoint.Progress)) (*succession.Copy, error)
	// Holds reports whether the copy with this identity is on this node: one that was damaged is not for long.
	Holds(id string) bool
	// Sound returns why the copy with this identity on this node is not what came, nil if it is. It reads what is not
	// known to be.
	Sound(ctx context.Context, id string) error
	// Discard removes a copy from this node.
	Discard(id string)
	// Differs asks the node at addr, of the region whose state the copy is, whether who gave it is known by now to hold
	// something else than that region. An error says that this node cannot tell.
	Differs(ctx context.Context, addr, id string) (bool, error)
	// Offer has the node at addr, of this region, fetch the copy from here, and returns when it has it.
	Offer(ctx context.Context, addr, id string, term uint64) error
	// Rewind has a node of this region, at addr or this one if that is empty, make the state at the fork of this
	// region's history, with the reigns of another that begin there, from what it has itself. index is an entry that
	// was applied when the region had diverged.
	Rewind(ctx context.Context, addr string, index uint64, reigns []timeline.Reign) (succession.Copy, error)
	// Copying tells the node at addr, of the source, that this region takes a copy of the state at p, zero if that is
	// not known yet, and will need the log behind it.
	Copying(ctx context.Context, addr string, p timeline.Position) error
	// Making asks the node at addr, of the source, how far it is with the copy that it makes for this region; a total
	// of zero: that is not known.
	Making(ctx context.Context, addr string) (done, total int64, err error)
}

// Wanted says which copy fits: of Source, of a history with the epoch MinEpoch, further than After, none that this
// leader had, and none to which Fits has something to say.
type Wanted struct {
	Source   string
	MinEpoch timeline.Epoch
	After    timeline.Position
	Term     uint64 // whose leader is to install it
	Had      map[string]bool
	Fits     func(timeline.Origin) error
}

// Directory tells where the nodes of this region are.
type Directory interface {
	Addr(id uint64) (string, bool)
}

// Config is what a Follower needs.
type Config struct {
	Region      string
	Formed      func() map[uint64]string // the disks with which the region was formed; nil: it is not known
	Self        uint64                   // Raft identity of this node
	WindowBytes int64                    // of the stream
	Transport   transport.Transport
	Clock       clock.Clock
	Logger      *slog.Logger
	Life        *life.Life
	Applied     *region.Applied
	Leadership  *region.Leadership
	Fleet       *fleet.Watcher
	Group       Group
	Copies      Copies
	Chains      Chains
	Client      *peer.Client
	Directory   Directory
	// Level returns the lowest level that is known of the nodes of this region.
	Level func(ctx context.Context) timeline.Level
	// Wanted returns the region that this one is to follow, by the newest roster that was heard; "": the primary. It is
	// not known while that roster does not have this region, which may have been added just now. Nil: by none.
	Wanted func() (region string, known bool)
}

// Follower follows. Run is called by one goroutine at a time; everything else is safe for concurrent use.
type Follower struct {
	config Config

	mu       sync.Mutex
	current  *session
	activity string           // what it does if it is not the stream, but for what watch tells
	watch    checkpoint.Watch // of the copy that comes
	phase    progress.Phase   // of a bootstrap; "": there is none
	since    time.Time        // when that began, or got on
	made     made             // of the copy that the source makes
	giver    string           // the region whose copy was looked for last
	rest     giving           // the node from which a part came that the session before had; zero: it had none
	have     int              // voters that have the copy, of needed
	needed   int
}

// made is how far a node of the source said that it is with a copy that it makes; zero: it did not.
type made struct {
	by          string
	done, total int64
}

// session is how this node follows one source in one term.
type session struct {
	term   uint64
	source string
	sink   *stream.Sink
	taker  *taker
	ways   *ways
	copied                 // of Run alone
	had    map[string]bool // the copies that were here, likewise
	// near is up to where the region was, or was to come, by the last copy that a nearer region gave or offered: beyond
	// it that is asked again. Nil: it gave none. Likewise.
	near   *timeline.Position
	silent map[string]int // how often nodes told of a fork, and then not where it is; likewise
}

// copied is how far a session is with a copy.
type copied struct {
	at     timeline.Position // of the copy that is here
	of     string            // the region whose state that is
	part   giving            // the node from which a part came
	most   int64             // bytes that were here at best
	broken int               // transfers from part that brought nothing since
}

// New returns a Follower that follows nobody.
func New(c Config) *Follower { return &Follower{config: c} }

// Run carries out a Stream, Fetch, Stage or Rewind, until it has ended or ctx does.
func (f *Follower) Run(ctx context.Context, e succession.Effect) succession.Ended {
	s := f.enter(e)
	ended := succession.Ended{ID: e.ID}
	switch e.Do {
	case succession.Fetch:
		ended.Copy, ended.Err = f.fetch(ctx, s, e.Epoch)
	case succession.Rewind:
		ended.Copy, ended.Again, ended.Err = f.rewind(ctx, s, e.Reigns)
	case succession.Stage:
		f.enterPhase(progress.Staging, "staging copy "+e.Copy)
		ended.Err = f.stage(ctx, s, e.Copy)
		ended.Gone = ended.Err != nil && !f.config.Copies.Holds(e.Copy)
	default:
		f.setActivity("")
		f.stream(ctx, s, &ended)
	}
	if e.Do == succession.Stage && ended.Err == nil {
		f.enterPhase(progress.Installing, "bootstrap: the region installs the copy") // until it does something else
	} else {
		f.setActivity("")
	}
	if ctx.Err() != nil {
		f.leave(s)
	} else if ended.Err != nil && e.Do == succession.Rewind && ended.Again {
		f.config.Logger.Warn("cannot go back to the fork by its own checkpoints while nodes are away; tries again, "+
			"and takes a copy of the whole state if they stay away", "source", e.Source, "err", ended.Err)
	} else if ended.Err != nil && e.Do == succession.Rewind {
		f.config.Logger.Warn("cannot go back to the fork by its own checkpoints; takes a copy of the whole state",
			"source", e.Source, "err", ended.Err)
	} else if ended.Err != nil {
		f.config.Logger.Warn("does not follow; will try again", "source", e.Source, "err", ended.Err)
	}
	return ended
}

// enter returns the session for e: the one that is there, so that what it knows of the lag stays, or a new one.
func (f *Follower) enter(e succession.Effect) *session {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.current; s != nil && s.source == e.Source && s.term == e.Term {
		return s
	}
	c := &f.config
	t := &taker{config: c, term: e.Term}
	w := &ways{follower: f, source: e.Source, choice: newChoice()}
	s := &session{term: e.Term, source: e.Source, taker: t, ways: w, had: map[string]bool{}, silent: map[string]int{}}
	if f.current != nil {
		f.rest = f.current.part
	}
	f.current, s.part = s, f.rest
	s.sink = stream.NewSink(stream.SinkConfig{
		Region: c.Region, Formed: c.Formed, Transport: c.Transport, Clock: c.Clock, Logger: c.Logger, Taker: t,
		WindowBytes: c.WindowBytes,
		Addresses:   func() []string { return s.talkative(c.Fleet.Addresses(e.Source)) },
		Detour:      func() []stream.Way { return f.detour(e.Source) },
		Better: func(address string, p timeline.Position) bool {
			v, _ := c.Fleet.View()
			return better(v.Regions[e.Source], address, p)
		},
		Way:    func() stream.Way { return w.now(s.sink.Status, s.sink.Lag) },
		Missed: w.missed,
	})
	return s
}

func (f *Follower) leave(s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == s {
		f.current, f.rest = nil, s.part
	}
}

// stream follows until ctx ends or something has to be decided.
func (f *Follower) stream(ctx context.Context, s *session, ended *succession.Ended) {
	err := s.sink.Run(ctx)
	_ = s.taker.Settle(f.config.Life.Context()) // fails only if the node stops
	var fork *stream.ForkError
	var bootstrap *stream.BootstrapError
	switch {
	case errors.As(err, &fork):
		ended.Fork, ended.Err = f.forked(ctx, s, fork)
	case errors.As(err, &bootstrap):
		ended.NeedsCopy = true
	default:
		ended.Err = err
	}
}

// setActivity notes what is done that is no bootstrap.
func (f *Follower) setActivity(activity string) { f.enterPhase("", activity) }

// now returns the session of this term, nil if this node follows nobody; what it does if that is not the stream, and
// how far a bootstrap is.
func (f *Follower) now() (*session, string, *progress.Bootstrap) {
	term, leads := f.config.Leadership.Term()
	primary := f.config.Applied.State().Role() == timeline.Primary
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil || !leads || primary || f.current.term != term {
		return nil, "", nil
	}
	if text := f.watch.Text(f.config.Clock.Now()); text != "" {
		return f.current, "bootstrap: " + text, f.bootstrap()
	}
	return f.current, f.activity, f.bootstrap()
}

// Following describes how this node follows, for people; nil if it follows nobody.
func (f *Follower) Following() *fleet.Following {
	s, activity, bootstrap := f.now()
	if s == nil {
		return nil
	}
	lag, status := s.sink.Lag(), s.sink.Status()
	if p, here := f.furthest(s.source), f.config.Applied.State().Cursor.Position; p > here {
		lag.Commands = max(lag.Commands, uint64(p-here)) // what others saw, while the source may be cut off
	}
	out := &fleet.Following{
		Source: s.source, Connected: status.Connected, Activity: activity,
		LagCommands: lag.Commands, LagBytes: lag.Bytes, LagSeconds: lag.Seconds,
		AtLeast: lag.AtLeast, By: s.ways.chosen(), Bootstrap: bootstrap,
	}
	if status.Connected {
		out.By = status.Way
	}
	if !lag.Known {
		out.LagSeconds = -1
	}
	if activity == "" && status.Err != nil {
		out.Activity = "not connected: " + status.Err.Error()
	}
	return out
}

// Heard returns the highest position that the stream from this region told of; zero if there is none.
func (f *Follower) Heard(source string) timeline.Position {
	if s, _, _ := f.now(); s != nil && s.source == source {
		return s.sink.Status().Committed
	}
	return 0
}
