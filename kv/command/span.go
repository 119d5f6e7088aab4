package command

import "bytes"

// Span is a set of keys as requests name it: one key, an interval, or everything from a key on.
type Span struct {
	Start, End []byte // End is nil for a single key, empty for no end
}

// SpanOf reads key and range_end as etcd does: no end is the key alone, the end "\x00" is no bound. The span aliases
// both.
func SpanOf(key, end []byte) Span {
	switch {
	case len(end) == 0:
		return Span{Start: key}
	case len(end) == 1 && end[0] == 0:
		return Span{Start: key, End: []byte{}}
	}
	return Span{Start: key, End: end}
}

// Single reports whether the span is the one key Start.
func (s Span) Single() bool { return s.End == nil }

// Contains reports whether key is in the span.
func (s Span) Contains(key []byte) bool {
	if s.Single() {
		return bytes.Equal(key, s.Start)
	}
	return bytes.Compare(key, s.Start) >= 0 && (len(s.End) == 0 || bytes.Compare(key, s.End) < 0)
}

// Interval returns the span as the keys from, which is in it, up to to, which is not. A nil to is no bound.
func (s Span) Interval() (from, to []byte) {
	switch {
	case s.Single():
		return s.Start, append(bytes.Clone(s.Start), 0) // the next key
	case len(s.End) == 0:
		return s.Start, nil
	}
	return s.Start, s.End
}
