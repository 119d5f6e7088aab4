package witness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/votes"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Config is what a witness is told. FS, Clock and Logger default to those of the machine.
type Config struct {
	Name    string // unique among the witnesses of the fleet, for ever
	FleetID string
	DataDir string
	FS      durable.FS
	Clock   clock.Clock
	Logger  *slog.Logger
}

// Witness is a voter without data. It is safe for concurrent use.
type Witness struct {
	config    Config
	voter     string
	life      *life.Life
	held      io.Closer
	transport transport.Transport

	mu      sync.Mutex
	state   *timeline.State // only its ballot says something
	line    *line
	full    bool // its disk had no room when it was written to last
	noted   bool // why it votes no more is on the disk
	unnoted bool // that failed the last time, and is logged
	shown   atomic.Pointer[timeline.State]
	gone    atomic.Pointer[string] // why it votes no more; nil: it does
}

// Start brings up a witness that answers over t, which it closes at the end. Errors: ErrConfig; ErrDiskLost and
// ErrDamaged if its ballot is gone, then it has to be replaced by one with another name; ErrIdentity;
// ErrNewer.
func Start(c Config, t transport.Transport) (*Witness, error) {
	if c.Name == "" || c.FleetID == "" || c.DataDir == "" {
		return nil, errors.Join(fmt.Errorf("%w: Name %q, FleetID %q and DataDir %q are required", contract.ErrConfig,
			c.Name, c.FleetID, c.DataDir), t.Close())
	}
	if c.FS == nil {
		c.FS = durable.OS
	}
	if c.Clock == nil {
		c.Clock = clock.Real
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = c.Logger.With("fleet", c.FleetID)
	w := &Witness{
		config: c, voter: timeline.WitnessPrefix + c.Name, life: life.New(c.Clock, c.Logger), transport: t,
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("witness %s: %w", c.Name, err), t.Close())
	}
	return w, nil
}

func (w *Witness) open() error {
	c := &w.config
	if err := durable.MakeDir(c.FS, c.DataDir); err != nil {
		return err
	}
	var err error
	if w.held, err = c.FS.Lock(filepath.Join(c.DataDir, lockFile)); err != nil {
		return err
	}
	if err := w.serve(); err != nil {
		return errors.Join(err, w.held.Close())
	}
	return nil
}

func (w *Witness) serve() error {
	c := &w.config
	if err := durable.Settle(c.FS, c.DataDir); err != nil {
		return err // the vote that is there may be one that a power cut takes back
	}
	kept, err := load(c.FS, c.DataDir, c.FleetID, w.voter)
	if err != nil {
		return err
	}
	if err := w.begin(kept); err != nil {
		return err
	}
	if err := mark(c.FS, c.DataDir, w.voter); err != nil {
		return err // of a directory that is new
	}
	if err := w.life.Begin(); err != nil {
		return err
	}
	defer w.life.EndStart()
	questions := peer.NewRegistry(w.life.Err, peer.NewDoor(peer.DoorConfig{Bars: peer.BarsWitness}))
	seat := votes.NewSeat(w.voter, c.Clock, w.life, w)
	seat.Begin()
	seat.Register(questions)
	if err := w.transport.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
		return err
	}
	if err := w.life.Ready(); err != nil {
		return err
	}
	w.life.Try(seat.Tend)
	c.Logger.Info("witness", "name", c.Name, "promised", w.state.Ballot.Promised)
	return nil
}

// begin notes a start more in the file, with the ballot that it holds; nil: it is not there yet.
func (w *Witness) begin(kept *record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh := kept == nil
	if fresh {
		kept = &record{Ballot: &timeline.Ballot{Identity: votes.Identity()}}
	}
	w.state, w.line = &timeline.State{Region: w.voter, Ballot: kept.Ballot}, kept.Line.next(w.config.Clock.Now())
	if why := kept.GivenUp; why != "" {
		w.gone.Store(&why)
		w.noted = true
		w.config.Logger.Error("does not vote: "+older, "err", why)
	}
	err := w.save(w.state, w.line)
	if !fresh && w.noRoom(err) {
		err = nil // the ballot is there
	}
	w.shown.Store(w.state)
	return err
}

// noRoom reports whether err, of a write, says that the disk has no room, so that nothing was written, which is logged
// when it begins. The caller holds mu.
func (w *Witness) noRoom(err error) bool {
	was := w.full
	if w.full = durable.Full(err) && !errors.Is(err, durable.ErrUnsettled); w.full && !was {
		w.config.Logger.Warn("no room on its disk: it keeps no votes, and gives none, until there is", "err", err)
	}
	return w.full
}

// save replaces the file. The caller holds mu.
func (w *Witness) save(s *timeline.State, l *line) error {
	c := &w.config
	r := record{Fleet: c.FleetID, Voter: w.voter, Ballot: s.Ballot, Line: l.written()}
	if why := w.gone.Load(); why != nil {
		r.GivenUp = *why
	}
	err := save(c.FS, c.DataDir, r)
	if err == nil {
		w.line, w.noted = r.Line, r.GivenUp != ""
	}
	return err
}

// older says of a witness that was found out what is the matter, and what is to be done.
const older = "its directory is an older copy, or lost what it held, so that it has forgotten votes that count: " +
	"put a witness of another name in its place"

// Recall implements votes.Store. Who was found out by one is refused to all, and once that is noted also when it is
// started again: where the disk does not take it, it is tried with each question.
func (w *Witness) Recall(heard []fleet.Word) *timeline.Objection {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, word := range heard {
		if why := w.line.lacks(word); why != "" && w.gone.Load() == nil {
			w.gone.Store(&why)
			w.config.Logger.Error("votes no more: "+older, "err", why)
		}
	}
	why := w.gone.Load()
	if why == nil {
		return nil
	}
	w.giveUp()
	text := fmt.Sprintf("%s does not vote: %s (%s)", w.voter, older, *why)
	return &timeline.Objection{Reason: timeline.ReasonCharter, Text: text}
}

// giveUp notes that it votes no more, unless that is noted. The caller holds mu.
func (w *Witness) giveUp() {
	if w.noted {
		return
	}
	err := w.save(w.state, w.line)
	if err != nil && !w.unnoted {
		w.config.Logger.Error("cannot note that it votes no more: it may vote when it is started again; tries on",
			"err", err)
	}
	w.unnoted = err != nil
}

// Word implements votes.Store. That a start is told is on the disk before the first word of it; there is none where the
// disk has no room for that. What else cannot be written ends the witness.
func (w *Witness) Word() (fleet.Word, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.line.told() {
		err := w.save(w.state, w.line.telling())
		switch {
		case w.noRoom(err):
			return fleet.Word{}, nil
		case err != nil:
			w.life.Fail(err)
			return fleet.Word{}, fmt.Errorf("%w: note a start of %s: %w", contract.ErrUnknownOutcome, w.voter, err)
		}
	}
	return w.line.word(), nil
}

// Lost returns why the witness does not vote although it runs: others know of what its directory has forgotten. Nil
// while that is not known to be so.
func (w *Witness) Lost() error {
	if why := w.gone.Load(); why != nil {
		return fmt.Errorf("%w: %s (%s)", contract.ErrDiskLost, older, *why)
	}
	return nil
}

// Term implements votes.Store: nobody else speaks for a witness.
func (w *Witness) Term() uint64 { return 1 }

// State implements votes.Store.
func (w *Witness) State() *timeline.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

// Confirm implements votes.Store.
func (w *Witness) Confirm(context.Context) error { return w.life.Err() }

// Enrol implements votes.Store.
func (w *Witness) Enrol(context.Context) (votes.Enrolment, error) {
	if err := w.Lost(); err != nil {
		return votes.Enrolment{}, err
	}
	s := w.State()
	return votes.Enrolment{Voter: w.voter, Identity: s.Ballot.Identity, Charter: s.Charter(),
		Level: timeline.LevelNow}, nil
}

// Record implements votes.Store. Where the disk has no room it refuses, and the former ballot counts, in the file too:
// a vote there that was refused would be confirmed to who asks the next process for it, although this one promised
// something else since. What else cannot be written ends the witness: it does not know what its file will hold.
func (w *Witness) Record(_ context.Context, c *timeline.Control) (timeline.Outcome, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone.Load() != nil {
		return timeline.Refused, older, nil
	}
	m := timeline.NewMachine(w.state)
	outcome, why, err := m.Control(c)
	if err != nil || outcome != timeline.Applied {
		return outcome, why, err
	}
	s := m.State()
	err = w.save(&s, w.line)
	switch {
	case w.noRoom(err):
		return timeline.Refused, "the disk of the witness has no room", nil
	case err != nil:
		w.life.Fail(err)
		return outcome, why, fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, err)
	}
	if c.Op == timeline.OpVote {
		w.config.Logger.Info("votes", "for", s.Ballot.For, "epoch", s.Ballot.Promised)
	}
	w.state = &s
	w.shown.Store(&s)
	return outcome, why, nil
}

// Failed is closed when the witness has ended, whoever ended it, and Err says why.
func (w *Witness) Failed() <-chan struct{} { return w.life.Stopped() }

// Promised returns the epoch of its last vote. It does not wait for one that is being written.
func (w *Witness) Promised() uint64 { return uint64(w.shown.Load().Ballot.Promised) }

// Err returns what ended the witness, nil while it serves.
func (w *Witness) Err() error { return w.life.Failure() }

// Shutdown ends the witness.
func (w *Witness) Shutdown() error {
	w.life.Close()
	err := w.transport.Close()
	w.life.Wait()
	return errors.Join(err, w.held.Close())
}
