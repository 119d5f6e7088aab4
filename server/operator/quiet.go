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
	// What was refused, or changes nothing, is told mostRefused times for a host and a call, mostOfHost times for a
	// host, mostLines times in all.
	mostRefused, mostOfHost, mostLines = 3, 100, 200
	// What was allowed, since nobody was asked for a right, is told mostAllowed times for a call: whoever makes many of
	// one does not hide that he makes another.
	mostAllowed = 200
	// mostHosts bounds the hosts that are told apart.
	mostHosts = 64
	// otherHosts stands for those beyond.
	otherHosts = "others"
)

// quiet bounds the lines of those who have shown no right.
type quiet struct {
	window time.Duration
	more   func(host string, n int)

	mu      sync.Mutex
	timer   *time.Timer // nil: nothing was heard yet
	closed  bool
	lines   int
	allowed map[string]int // by call
	hosts   map[string]*heard
}

// heard is what a host did in a window.
type heard struct {
	lines, left int
	calls       map[string]int
}

// newQuiet returns one that calls more, at the end of each window, with how many lines of a host were left out.
func newQuiet(window time.Duration, more func(host string, n int)) *quiet {
	return &quiet{window: window, more: more, hosts: map[string]*heard{}, allowed: map[string]int{}}
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
	h := q.hosts[host]
	if h == nil && len(q.hosts) >= mostHosts {
		host = otherHosts
		h = q.hosts[host]
	}
	if h == nil {
		h = &heard{calls: map[string]int{}}
		q.hosts[host] = h
	}
	if !refused {
		if q.allowed[op] >= mostAllowed {
			h.left++
			return false
		}
		q.allowed[op]++
		return true
	}
	if h.calls[op] >= mostRefused || h.lines >= mostOfHost || q.lines >= mostLines {
		h.left++
		return false
	}
	h.calls[op]++
	h.lines++
	q.lines++
	return true
}

// end begins a new window.
func (q *quiet) end() {
	q.mu.Lock()
	hosts := q.hosts
	q.hosts, q.allowed, q.lines, q.timer = map[string]*heard{}, map[string]int{}, 0, nil
	q.mu.Unlock()
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		if left := hosts[host].left; left > 0 {
			q.more(host, left)
		}
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
