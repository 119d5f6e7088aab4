package partial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
)

// following is one session with a source.
type following struct {
	*Sink
	stream  grpc.ClientStream
	spans   []command.Span
	ctx     context.Context
	end     context.CancelCauseFunc
	silent  *time.Timer // ends it when nothing comes
	pending []kv.Change // behind what was taken
	copying *copying    // nil: none comes
	came    came
	lastID  uint64

	began, synced time.Time
}

const (
	// syncEvery is how often what was taken is made durable. What a crash takes comes again from the source.
	syncEvery = 30 * time.Second
	// mostPending bounds what one revision of a source may be, in changes, before it is no source.
	mostPending = 1 << 22
)

// errSilent says that a source said nothing for silence.
var errSilent = fmt.Errorf("it said nothing for %s", silence)

// session follows the node in use until something ends that: anew, from a copy on. It says what came of it.
func (s *Sink) session(ctx context.Context, anew bool) (came came, err error) {
	endpoint, conn := s.Links.now()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	f := &following{Sink: s, spans: s.Prefixes().Spans(), ctx: ctx, end: end, began: time.Now(), synced: time.Now()}
	f.silent = time.AfterFunc(silence, func() { end(errSilent) })
	err = f.begin(conn, anew)
	if err == nil {
		err = f.run()
	}
	f.silent.Stop()
	if f.copying != nil {
		f.copying.abandon()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return f.came, fmt.Errorf("%s: %w", endpoint, judged(err))
}

// came is what came in a session: anything, and what came behind a copy, or behind what was here.
type came struct{ any, behind bool }

// begin says what is wanted.
func (f *following) begin(conn *grpc.ClientConn, anew bool) error {
	secret, err := f.Secret()
	if err != nil {
		return err
	}
	o := &f.Place.options
	q := ask{Version: wireVersion, Fleet: o.Fleet, Region: o.Region, Node: f.Node, Secret: secret,
		Prefixes: o.Prefixes, After: f.Place.store.Revision()}
	if anew {
		q.After = 0
	}
	if f.stream, err = conn.NewStream(f.ctx, &desc, Method); err != nil {
		return err
	}
	if err := send(f.stream, isAsk, q); err != nil {
		return f.ended(err)
	}
	return nil
}

// ended returns why the stream ended, of which sending does not tell.
func (f *following) ended(err error) error {
	if _, _, told := receive(f.stream); told != nil {
		return told
	}
	return err
}

// run takes what comes.
func (f *following) run() error {
	for first := true; ; first = false {
		f.silent.Reset(silence)
		kind, body, err := receive(f.stream)
		f.silent.Stop()
		if err != nil {
			return err
		}
		switch {
		case first != (kind == isBegun):
			err = fmt.Errorf("%w: kind %q", errMalformed, kind)
		case kind == isBegun:
			err = f.begun(body)
		case kind == isChanges:
			err = f.changes(body)
		case kind == isState:
			err = f.stated(body)
		case kind == isSums:
			var m sums
			if err = decode(body, &m); err == nil {
				go f.compare(&m)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (f *following) begun(body []byte) error {
	var b begun
	err := decode(body, &b)
	if held := f.Place.store.Revision(); err == nil && b.Revision > 0 && b.Revision < held {
		// What a failover cut off is never ahead of what comes in its place.
		err = fmt.Errorf("a copy of revision %d is older than what was here, revision %d", b.Revision, held)
	}
	if err == nil && b.Revision > 0 {
		f.copying, err = f.Place.begin(b.Revision)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.state.Source, f.state.SourceRegion, f.state.Copying = b.Node, b.Region, b.Revision > 0
	f.state.Problem, f.why, f.notes = "", "", nil
	f.state.Sessions++
	f.mu.Unlock()
	f.Logger.Info("follows", "source", b.Node, "region", b.Region, "copy", b.Revision > 0, "revision",
		f.Place.store.Revision())
	return nil
}

func (f *following) changes(body []byte) (err error) {
	list, err := changesOf(nil, body)
	if err != nil {
		return err
	}
	for i := range list {
		within := func(s command.Span) bool { return s.Contains(list[i].Key) }
		if !slices.ContainsFunc(f.spans, within) {
			return fmt.Errorf("%w: a key comes that is not within the prefixes", errMalformed)
		}
	}
	if f.copying == nil {
		if f.pending = append(f.pending, list...); len(f.pending) > mostPending {
			return fmt.Errorf("%w: more than %d changes without a state", errMalformed, mostPending)
		}
		return nil
	}
	err = f.copying.add(list)
	f.mu.Lock()
	f.state.CopiedKeys = f.copying.keys
	f.mu.Unlock()
	return err
}

// stated takes a state with what came before it.
func (f *following) stated(body []byte) error {
	var m stated
	if err := decode(body, &m); err != nil {
		return err
	}
	if err := f.Place.heard(m.rights(), m.isFresh()); err != nil { // before what may need it is shown
		return err
	}
	if f.copying != nil {
		if m.Revision != f.copying.revision {
			return fmt.Errorf("%w: a copy of revision %d ends at %d", errMalformed, f.copying.revision, m.Revision)
		}
		if err := f.installed(); err != nil {
			return err
		}
	} else if err := kv.Accept(f.Place.store, m.state(), f.pending); err != nil {
		return err
	} else {
		f.came.behind = true
	}
	f.pending, f.came.any = nil, true
	f.told(&m)
	if m.isFresh() {
		f.show(true)
	}
	if now := time.Now(); now.Sub(f.synced) >= syncEvery {
		f.synced = now
		if err := f.Place.store.Sync(); err != nil {
			return err
		}
	}
	if err := f.note(&m); err != nil {
		return err
	}
	late := m.BehindSeconds < 0 || m.BehindSeconds > mostBehind.Seconds()
	if late && len(f.Links.conns) > 1 && time.Since(f.began) > mostBehind {
		return fmt.Errorf("%w: what this one has is old, or it does not know how old", errElsewhere)
	}
	return nil
}

// installed puts the copy that came in its place.
func (f *following) installed() error {
	c := f.copying
	err := f.Place.hearAnew()
	if err == nil {
		err = c.install()
	}
	if err == nil {
		err = f.Place.setParted(false)
	}
	if err != nil {
		return err
	}
	f.copying = nil
	f.mu.Lock()
	f.compared, f.suspect = time.Time{}, false
	f.state.Copying, f.state.CopiedKeys = false, 0
	f.state.Copies++
	f.mu.Unlock()
	f.Logger.Info("a copy is in its place", "revision", c.revision, "keys", c.keys)
	return nil
}

// told notes what a state says of how far it is.
func (f *following) told(m *stated) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.Newest = m.Newest
	at := time.Duration(0)
	for len(f.notes) > 0 && f.notes[0].id <= m.Echo {
		at, f.notes = f.notes[0].at, f.notes[1:]
	}
	if at != 0 {
		f.echoed = at
	}
	if f.echoed != 0 && m.isFresh() {
		f.fresh = f.echoed - time.Duration(m.BehindSeconds*float64(time.Second))
	}
}

// note tells the source how far it is, and asks for sums when it is time.
func (f *following) note(m *stated) error {
	f.lastID++
	n := note{ID: f.lastID, State: m.ID, Revision: f.Place.store.Revision()}
	now := time.Now()
	f.mu.Lock()
	due := f.compared.IsZero() || f.suspect && now.Sub(f.compared) >= suspectTime ||
		f.CompareEvery > 0 && now.Sub(f.compared) >= f.CompareEvery
	if due && m.Whole {
		n.SumAt, f.compared = n.Revision, now
	}
	if len(f.notes) < mostMoments {
		f.notes = append(f.notes, sentNote{n.ID, f.Clock.Elapsed()})
	}
	f.mu.Unlock()
	if err := send(f.stream, isNote, n); err != nil {
		return f.ended(err)
	}
	return nil
}

// suspectTime lies between the two times that a difference has to be found.
const suspectTime = time.Second

// errDiffers says that what is held is not what the source has.
var errDiffers = errors.New("the sums of what is held differ from those of the source")

// compare compares what the source holds with what is held here. A difference counts when it was found twice.
func (f *following) compare(m *sums) {
	own, keys, err := sumsOf(f.ctx, f.Place.store, f.Prefixes().Spans(), m.At)
	if err == nil && m.Why != "" {
		err = errors.New(m.Why)
	}
	same := slices.EqualFunc(own, m.Sums, bytes.Equal)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ctx.Err() != nil:
	case err != nil:
		f.Logger.Info("not compared with the source", "revision", m.At, "err", err)
	case same:
		f.suspect = false
		f.state.Compared, f.state.ComparedAt, f.state.ComparedKeys = time.Now(), m.At, keys
	case !f.suspect:
		f.suspect = true
		f.state.Differed++
		f.Logger.Warn("what is held differs from the source, and is compared once more", "revision", m.At)
	default:
		f.state.Differed++
		f.Logger.Error("what is held differs from the source, and is copied anew", "revision", m.At)
		f.end(fmt.Errorf("%w: %w at revision %d", errParted, errDiffers, m.At))
	}
}
