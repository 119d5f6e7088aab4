package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// list returns the links that are in a store: of each, what its name says, and no name. It takes as long as it takes,
// for there may be millions; that nothing moves is bounded by the store.
func list(ctx context.Context, s store.Store) (links []Link, err error) {
	err = s.Walk(ctx, Prefix, func(o store.Object) error {
		if l, ok := ParseName(o.Name); ok {
			links = append(links, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the segments in %s: %w", s, err)
	}
	return links, nil
}

// fetch returns the segment that a link is. The error is ErrBroken if it is another one, or damaged.
func fetch(ctx context.Context, s store.Store, l Link) (*Segment, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	text, err := readAll(ctx, s, l.Name(), maxSegmentBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name(), err)
	}
	segment, got, err := Decode(text)
	if err == nil && got != l {
		err = fmt.Errorf("%w: it is %s", ErrBroken, got.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Name(), err)
	}
	return segment, nil
}

// peek returns what a segment says of itself, without its entries and unproven. It reads no more than that.
func peek(ctx context.Context, s store.Store, l Link) (*Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := s.Get(ctx, l.Name())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var begin [len(magic) + lengthBytes]byte
	if _, err := io.ReadFull(r, begin[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(begin[len(magic):])
	if string(begin[:len(magic)]) != magic || n > maxHeaderBytes {
		return nil, fmt.Errorf("%s: %w", l.Name(), ErrBroken)
	}
	text, h := make([]byte, n), new(Header)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	if err = decodeHeader(text, h); err == nil {
		err = h.valid()
	}
	if err == nil && PlaceOf(h.To.Cursor) != l.To {
		err = fmt.Errorf("%s: %w", l.Name(), ErrBroken)
	}
	return h, err
}

// readAll returns an object of at most so many bytes.
func readAll(ctx context.Context, s store.Store, name string, most int64) ([]byte, error) {
	r, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if err = errors.Join(err, r.Close()); err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%w: it has more than %d bytes", ErrBroken, most)
	}
	return text, err
}

// resume finds where to go on: behind the furthest segment that is whole and of the history here. If the log does not
// reach back to it, or there is none, it begins anew where the history is now. What was archived is listed only if the
// segment that was archived last does not lead on: what is archived twice does no harm (A2).
func (a *Archiver) resume(ctx context.Context) (*replication.HistoryReading, *gather, error) {
	here, err := a.config.History.Now()
	if err != nil {
		return nil, nil, err
	}
	if r, g, err := a.behindHead(ctx, here); r != nil || err != nil {
		return r, g, err
	}
	links, err := list(ctx, a.config.Store)
	if err != nil {
		return nil, nil, err
	}
	if err := a.ours(ctx, links); err != nil {
		return nil, nil, err
	}
	var gap *timeline.Cursor
	forked := map[Place]bool{} // places of other histories
	for _, l := range Candidates(links, here) {
		if forked[l.To] {
			continue
		}
		s, err := fetch(ctx, a.config.Store, l)
		if isBroken(err) {
			a.config.Logger.Error("a segment of the archive is broken: it is archived anew from where the one before "+
				"ends, as far as the log reaches back", "store", a.config.Store.String(), "err", err)
			a.failed(err)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		r, g, err := a.behind(ctx, s, l)
		if errors.Is(err, replication.ErrHistoryBehind) {
			s.Payloads = nil // others are fetched
			err = a.elseForked(ctx, links, l, here, err)
		}
		switch {
		case err == nil:
			return r, g, nil
		case errors.Is(err, replication.ErrHistoryForked):
			_, shared := timeline.Compare(s.To.Reigns, here.Reigns, s.To.Cursor.Position, here.Cursor.Position)
			leadTo(links, l.To, shared, forked)
			continue
		case errors.Is(err, replication.ErrHistoryReleased):
			gap = &s.To.Cursor
		default:
			return nil, nil, err
		}
		break
	}
	return a.anew(here, len(links) > 0, gap)
}

// elseForked returns behind, which says that the history here does not come to where a segment ends, or
// ErrHistoryForked if what is archived up to there is another one: it never comes there.
func (a *Archiver) elseForked(
	ctx context.Context, links []Link, l Link, here timeline.Origin, behind error,
) error {
	is, known, err := through(ctx, a.config.Store, links, l.To, here.Cursor)
	switch {
	case err != nil:
		return err
	case known && !is:
		return fmt.Errorf("%w: it is at position %d, and what is archived has another command there",
			replication.ErrHistoryForked, here.Cursor.Position)
	}
	return behind
}

// behind goes on behind a segment that was read, which is durable before this node lets go of the log that it holds.
func (a *Archiver) behind(ctx context.Context, s *Segment, l Link) (*replication.HistoryReading, *gather, error) {
	r, err := a.config.History.Read(a.name, s.To)
	if err != nil {
		return nil, nil, err
	}
	if err := a.settle(ctx, l); err != nil {
		r.Close()
		return nil, nil, err
	}
	a.begun(s, false, a.config.Clock.Now())
	a.config.Logger.Info("archiving the log", "store", a.config.Store.String(), "position", s.To.Cursor.Position,
		"epoch", s.To.Cursor.Epoch)
	return r, newGather(a.who(), s.To, nil), nil
}

// behindHead goes on behind the segment that was archived last; nil if that is not known, or does not lead on.
func (a *Archiver) behindHead(
	ctx context.Context, here timeline.Origin,
) (*replication.HistoryReading, *gather, error) {
	l, ok := head(ctx, a.config.Store)
	if !ok || !mayHold(here, l.To) {
		return nil, nil, nil
	}
	s, err := fetch(ctx, a.config.Store, l)
	if isBroken(err) {
		return nil, nil, nil
	}
	if err == nil {
		err = a.owns(s)
	}
	if err != nil {
		return nil, nil, err
	}
	r, g, err := a.behind(ctx, s, l)
	if errors.Is(err, replication.ErrHistoryBehind) {
		is, _, err := through(ctx, a.config.Store, []Link{l}, l.To, here.Cursor)
		if err != nil || !is { // the other segments tell
			return nil, nil, err
		}
	}
	if errors.Is(err, replication.ErrHistoryForked) || errors.Is(err, replication.ErrHistoryReleased) {
		return nil, nil, nil
	}
	return r, g, err
}

// head returns the link of the segment that was archived last, as far as the place says so.
func head(ctx context.Context, s store.Store) (Link, bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	text, err := readAll(ctx, s, headName, maxNameBytes)
	if err != nil {
		return Link{}, false
	}
	return ParseName(string(text))
}

// anew begins as far back as the log reaches, or where the history is now. What is archived already, if anything is,
// does not lead there.
func (a *Archiver) anew(
	here timeline.Origin, some bool, gap *timeline.Cursor,
) (*replication.HistoryReading, *gather, error) {
	for _, from := range Beginnings(here) {
		r, err := a.config.History.Read(a.name, from)
		if errors.Is(err, replication.ErrHistoryReleased) || errors.Is(err, replication.ErrHistoryForked) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		a.tellBegun(from, some, gap)
		a.begun(&Segment{Header: Header{To: from, Gap: gap}}, gap != nil || some || from.Cursor.Position > 0,
			a.config.Clock.Now())
		return r, newGather(a.who(), from, gap), nil
	}
	return nil, nil, fmt.Errorf("behind position %d: %w", here.Cursor.Position, replication.ErrHistoryReleased)
}

// tellBegun tells the log where archiving begins anew, and what that means.
func (a *Archiver) tellBegun(from timeline.Origin, some bool, gap *timeline.Cursor) {
	log := a.config.Logger.With("store", a.config.Store.String(), "position", from.Cursor.Position, "epoch",
		from.Cursor.Epoch)
	switch {
	case gap != nil:
		log.Error("a gap in the archive: the log does not reach back any more to where the archive ends. What lies "+
			"between cannot be restored, and what comes only from a snapshot that is taken from now on: take one",
			"archived", gap.Position)
	case some:
		log.Error("nothing that is archived leads to the history here: what comes can be restored only from a " +
			"snapshot that is taken from now on: take one")
	case from.Cursor.Position > 0:
		log.Warn("nothing is archived at this place, and the history here is older than where archiving begins: what " +
			"comes can be restored only from a snapshot that is taken from now on: take one. If there is an archive, " +
			"look whether this is the place that it is in, and is mounted")
	default:
		log.Info("archiving the log from here on: what comes can be restored from a snapshot of here or later")
	}
}

// ours returns ErrForeign if the segment that goes furthest is of another fleet.
func (a *Archiver) ours(ctx context.Context, links []Link) error {
	for _, l := range furthest(links) {
		s, err := fetch(ctx, a.config.Store, l)
		switch {
		case isBroken(err):
			continue
		case err != nil:
			return err
		}
		return a.owns(s)
	}
	return nil
}

// owns returns ErrForeign if a segment is of another fleet.
func (a *Archiver) owns(s *Segment) error {
	if s.Fleet == a.config.Fleet {
		return nil
	}
	return fmt.Errorf("%w: %s has the one of %q, and this is %q: name another place", ErrForeign, a.config.Store,
		s.Fleet, a.config.Fleet)
}

func (a *Archiver) who() Header {
	return Header{Fleet: a.config.Fleet, Region: a.config.Region, Node: a.config.Node}
}

// isBroken reports whether a segment is not there as it was put.
func isBroken(err error) bool {
	return errors.Is(err, ErrBroken) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrChanged)
}
