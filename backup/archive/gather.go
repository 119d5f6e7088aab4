package archive

import (
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Sizes of a segment. They decide about cost and memory alone.
const (
	// segmentBytes is where a segment is closed that is not due by its age.
	segmentBytes = 8 << 20
	// headerMarks bounds the marks of a segment.
	headerMarks = 4096
)

// gather is the segment that comes next, as far as it is there. It is a pure machine.
type gather struct {
	segment Segment // To is as far as it goes
	bytes   int
	opened  time.Time // when its first entry came
	ahead   []Mark    // of positions that did not come yet
}

// newGather begins behind a place. gap is where the archive had ended, if that does not lead there.
func newGather(who Header, at timeline.Origin, gap *timeline.Cursor) *gather {
	who.From, who.To, who.Gap, who.Marks = at.Cursor, at, gap, nil
	return &gather{segment: Segment{Header: who}}
}

// take adds entries that lead to a place.
func (g *gather) take(now time.Time, payloads [][]byte, at timeline.Cursor) error {
	for _, p := range payloads {
		if h, _ := timeline.ReadHeader(p); h.Kind == timeline.KindReign {
			r, err := timeline.DecodeReign(p)
			if err != nil {
				return err
			}
			to := &g.segment.To
			to.Reigns = append(to.Reigns[:len(to.Reigns):len(to.Reigns)], r)
		}
		g.bytes += len(p)
	}
	if len(g.segment.Payloads) == 0 && len(payloads) > 0 {
		g.opened = now
	}
	g.segment.Payloads, g.segment.To.Cursor = append(g.segment.Payloads, payloads...), at
	n := 0
	for n < len(g.ahead) && g.ahead[n].Position <= at.Position {
		g.add(g.ahead[n])
		n++
	}
	g.ahead = g.ahead[n:]
	return nil
}

// mark notes what the history had come to.
func (g *gather) mark(m Mark) {
	if m.Position > g.segment.To.Cursor.Position {
		g.ahead = append(g.ahead[max(0, len(g.ahead)-headerMarks):], m)
		return
	}
	g.add(m)
}

// add keeps of each position the first and the last mark.
func (g *gather) add(m Mark) {
	marks := g.segment.Marks
	n := len(marks)
	switch {
	case m.Position < g.segment.From.Position || n > 0 && m.Position < marks[n-1].Position:
		// It is of what is archived already, or of a store that was behind what was read.
	case n >= 2 && marks[n-1].Position == m.Position && marks[n-2].Position == m.Position:
		marks[n-1] = m
	case n < headerMarks:
		g.segment.Marks = append(marks, m)
	}
}

// due reports whether it is time to close the segment.
func (g *gather) due(now time.Time, age time.Duration) bool {
	return g.full() || len(g.segment.Payloads) > 0 && (now.Sub(g.opened) >= age || now.Before(g.opened))
}

func (g *gather) full() bool { return g.bytes >= segmentBytes }

// empty reports whether everything that was taken is archived.
func (g *gather) empty() bool { return len(g.segment.Payloads) == 0 }

// close returns the segment, which ends now.
func (g *gather) close(now time.Time) *Segment {
	s := g.segment
	end := s.To.Cursor.Position
	if n := len(s.Marks); n == 0 || s.Marks[n-1].Position != end {
		s.Marks = append(s.Marks[:n:n], Mark{Time: now, Position: end})
	}
	return &s
}

// next begins the segment behind the one that was closed.
func (g *gather) next() {
	g.segment = Segment{Header: newGather(g.segment.Header, g.segment.To, nil).segment.Header}
	g.bytes = 0
}
