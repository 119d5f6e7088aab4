package transfer

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Fetch takes a copy from addr and returns its identity and description. progress may be nil; it is told of what has
// come. A node that says nothing for too long is given up (T5). Only one fetch runs at a time: others wait. The term
// for which the copy is to stay is for the caller to say, with [Staging.Keep].
func (s *Staging) Fetch(
	ctx context.Context, addr string, r Request, progress func(checkpoint.Progress),
) (id string, d *Description, err error) {
	return s.FetchIf(ctx, addr, r, nil, progress)
}

// Fits says why a copy that is offered is of no use to who asked for it, nil if it is of some.
type Fits func(id string, d *Description) error

// FetchIf is Fetch of a copy that fits, which may be nil, lets come: one that it does not costs nothing but the
// question, and what is here of another one stays.
func (s *Staging) FetchIf(
	ctx context.Context, addr string, r Request, fits Fits, progress func(checkpoint.Progress),
) (id string, d *Description, err error) {
	elder := checkpoint.ElderSilence // it may make a whole state, and sum it
	if r.ID != "" {                  // it has it
		elder = checkpoint.Silence
	}
	return s.fetch(ctx, addr, r, elder, fits, progress)
}

// fetch is Fetch, where a node that does not say that it works may be silent for so long.
func (s *Staging) fetch(
	ctx context.Context, addr string, r Request, elder time.Duration, fits Fits, progress func(checkpoint.Progress),
) (id string, d *Description, err error) {
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return "", nil, context.Cause(ctx)
	}
	s.coming.Begin(addr, s.config.Clock.Now())
	defer s.coming.End()
	m, err := s.receive(ctx, addr, r, elder, fits, func(p checkpoint.Progress) {
		s.stuck = false // what is in the place is wanted again
		s.short = s.short && p.Stage != checkpoint.Coming
		s.coming.Came(p, s.config.Clock.Now())
		if progress != nil {
			progress(p)
		}
	})
	if durable.Full(err) || errors.Is(err, checkpoint.ErrNoSpace) {
		s.short = true
	}
	if err != nil {
		return "", nil, err
	}
	s.stuck = false
	if id, d, err = described(m); err != nil {
		return "", nil, err
	}
	fs, dir := s.config.FS, s.dir(id)
	if err := checkpoint.Remove(fs, dir); err != nil {
		return "", nil, err
	}
	if err := fs.Rename(s.incoming(), dir); err != nil {
		return "", nil, err
	}
	if err := fs.SyncDir(s.config.Dir); err != nil {
		err = fmt.Errorf("sync %s, where copy %s is: %w", s.config.Dir, id, err)
		return "", nil, errors.Join(err, fs.Rename(dir, s.incoming())) // whoever asks again goes on with it
	}
	s.isSound(id, true)
	return id, d, nil
}

// described returns the identity of a copy and its description.
func described(m *checkpoint.Manifest) (id string, d *Description, err error) {
	d = new(Description)
	if err := json.Unmarshal(m.Meta, d); err != nil {
		return "", nil, fmt.Errorf("%w: description of a copy: %w", contract.ErrMessage, err)
	}
	return hex.EncodeToString(m.ID[:]), d, nil
}

// manifest is what fits says of the manifest of a copy.
func (fits Fits) manifest(m *checkpoint.Manifest) error {
	if fits == nil {
		return nil
	}
	id, d, err := described(m)
	if err != nil {
		return err
	}
	return fits(id, d)
}

// receive fills the place for what comes in.
func (s *Staging) receive(
	ctx context.Context, addr string, r Request, elder time.Duration, fits Fits, progress func(checkpoint.Progress),
) (*checkpoint.Manifest, error) {
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if err := durable.MakeDir(s.config.FS, s.config.Dir); err != nil {
		return nil, err
	}
	l := checkpoint.Line{Clock: s.config.Clock, Works: true, Elder: elder}
	m, err := s.converse(ctx, l, addr, encoded, fits, progress)
	if errors.Is(err, transport.ErrNoService) {
		l.Works = false
		m, err = s.converse(ctx, l, addr, encoded, fits, progress)
	}
	return m, err
}

// converse is the course of one stream, of which l is made.
func (s *Staging) converse(
	ctx context.Context, l checkpoint.Line, addr string, request []byte, fits Fits,
	progress func(checkpoint.Progress),
) (_ *checkpoint.Manifest, err error) {
	ctx, cancel := context.WithCancel(ctx) // ends the stream
	defer cancel()
	service := ServiceElder
	if l.Works {
		service = Service
	}
	if l.Stream, err = s.config.Transport.Open(ctx, addr, service); err != nil {
		return nil, err
	}
	if err := l.Send(ctx, bytes.Clone(request)); err != nil {
		return nil, err
	}
	terms := checkpoint.Terms{Fits: fits.manifest, Look: s.config.Look}
	return checkpoint.ReceiveOn(ctx, l, s.config.FS, s.incoming(), &s.memory, terms, progress)
}

// Partial returns the identity of the copy of which a part is here, or all without its name, so that the same can be
// asked for again; "" if there is none.
func (s *Staging) Partial() string {
	m, err := s.came()
	if err != nil {
		return ""
	}
	return hex.EncodeToString(m.ID[:])
}

// came returns the manifest of what is in the place for what comes in.
func (s *Staging) came() (*checkpoint.Manifest, error) {
	m, err := checkpoint.Partial(s.config.FS, s.incoming())
	if err != nil { // it may be whole, and not have its name yet
		m, err = checkpoint.Load(s.config.FS, s.incoming())
	}
	return m, err
}

func (s *Staging) incoming() string { return filepath.Join(s.config.Dir, incomingFolder) }
