package operator

import (
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// quietTime is for how long a stranger is told of no more than so often.
	quietTime = 10 * time.Second
	// What was refused, or changes nothing, is told mostRefused times for a host and a call, and mostOfHost times for a
	// host; of all hosts mostLines times at once, and then linesEach times a second.
	mostRefused, mostOfHost, mostLines, linesEach = 3, 100, 200, 0.2
	// What was allowed, since nobody was asked for a right, is told mostAllowed times at once for a call, and then
	// allowedEach times a second: whoever makes many of one does not hide that he makes another.
	mostAllowed, allowedEach = 200, 1
	// mostHosts bounds the hosts that are told apart.
	mostHosts = 64
	// otherHosts stands for those beyond.
	otherHosts = "others"
)

// quiet bounds the lines of those who have shown no right.
type quiet struct {
	window time.Duration
	more   func(leftOut)

	mu      sync.Mutex
	timer   *time.Timer // nil: nothing was heard yet
	closed  bool
	lines   spent
	allowed map[string]*spent // by call
	hosts   map[string]*heard
	ops, by map[string]bool // calls that were allowed and left out in this window, and hosts that made them
}

// leftOut is what was not told in a window.
type leftOut struct {
	host     string // of which most was
	n, hosts int    // how many of all hosts, and of how many hosts, of which those beyond a bound count as one
	// Calls among these that were allowed and may have changed something, and hosts that made them, those beyond a
	// bound as one.
	ops, by []string
}

// heard is what a host did in a window.
type heard struct {
	lines, left int
	calls       map[string]int
}

// spent is how many lines were written, less those that the time since then allows anew.
type spent struct {
	lines float64
	at    time.Time
}

// has reports whether there may be one more, of so many at once and each a second.
func (s *spent) has(most, each float64, now time.Time) bool {
	s.lines, s.at = max(0, s.lines-now.Sub(s.at).Seconds()*each), now
	return s.lines+1 <= most
}

// take is has, and counts that one.
func (s *spent) take(most, each float64, now time.Time) bool {
	has := s.has(most, each, now)
	if has {
		s.lines++
	}
	return has
}

// newQuiet returns one that calls more, at the end of a window, if lines were left out in it.
func newQuiet(window time.Duration, more func(leftOut)) *quiet {
	q := &quiet{window: window, more: more, allowed: map[string]*spent{}}
	q.renew()
	return q
}

// renew forgets what was heard in a window.
func (q *quiet) renew() {
	q.hosts, q.ops, q.by = map[string]*heard{}, map[string]bool{}, map[string]bool{}
}

// hide remembers a call that was allowed and is left out. mu is held.
func (q *quiet) hide(host, op string) {
	q.ops[op] = true
	if !q.by[host] && len(q.by) >= mostHosts {
		host = otherHosts
	}
	q.by[host] = true
}

// due reports whether a line is to be written for what a host called.
func (q *quiet) due(host, op string, refused bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return true
	}
	if q.timer == nil {
		q.timer = time.AfterFunc(q.window, q.end)
	}
	h, known := q.hosts[host], host
	if h == nil && len(q.hosts) >= mostHosts {
		known = otherHosts
		h = q.hosts[known]
	}
	if h == nil {
		h = &heard{calls: map[string]int{}}
		q.hosts[known] = h
	}
	now := time.Now()
	if !refused {
		of := q.allowed[op]
		if of == nil {
			of = &spent{}
			q.allowed[op] = of
		}
		if !of.take(mostAllowed, allowedEach, now) {
			h.left++
			q.hide(host, op)
			return false
		}
		return true
	}
	if h.calls[op] >= mostRefused || h.lines >= mostOfHost || !q.lines.take(mostLines, linesEach, now) {
		h.left++
		return false
	}
	h.calls[op]++
	h.lines++
	return true
}

// end begins a new window.
func (q *quiet) end() {
	q.mu.Lock()
	hosts, now := q.hosts, time.Now()
	out := leftOut{ops: slices.Sorted(maps.Keys(q.ops)), by: slices.Sorted(maps.Keys(q.by))}
	q.timer = nil
	q.renew()
	maps.DeleteFunc(q.allowed, func(_ string, s *spent) bool { return s.has(1, allowedEach, now) })
	q.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		left := hosts[host].left
		if left == 0 {
			continue
		}
		if out.n, out.hosts = out.n+left, out.hosts+1; out.host == "" || left > hosts[out.host].left {
			out.host = host
		}
	}
	if out.n > 0 {
		q.more(out)
	}
}

// close tells what was left out; nothing is held back after it.
func (q *quiet) close() {
	q.mu.Lock()
	q.closed = true
	if q.timer != nil {
		q.timer.Stop()
	}
	q.mu.Unlock()
	q.end()
}
