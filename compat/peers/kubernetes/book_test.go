package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// book is what happened, as clients saw it. It is safe for concurrent use.
type book struct {
	mu       sync.Mutex
	lines    map[string]*line
	problems []string
	failures map[string]int // requests that failed, by what was asked and why
	done     map[string]int // requests that were answered, by what was asked
	acked    time.Time      // when the last write was acknowledged
	pause    time.Duration  // the longest time without one
	overlaps bool           // two may lead at a time, since a failover may have lost who did
}

func newBook() *book {
	return &book{lines: map[string]*line{}, failures: map[string]int{}, done: map[string]int{}}
}

// line returns that of an object.
func (b *book) line(name string) *line {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lines[name] == nil {
		b.lines[name] = newLine(name)
	}
	return b.lines[name]
}

// all returns the lines by their names.
func (b *book) all() (lines []*line) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.lines {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(x, y *line) int { return cmp.Compare(x.name, y.name) })
	return lines
}

// starts returns the beginnings of a read of all objects.
func (b *book) starts() map[string]began {
	starts := map[string]began{}
	for _, l := range b.all() {
		starts[l.name] = l.begin()
	}
	return starts
}

// mayLose begins a reign that may lack what was acknowledged before.
func (b *book) mayLose() {
	for _, l := range b.all() {
		l.mayLose()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.overlaps = true
}

// wrong notes an error that must not be.
func (b *book) wrong(err error) {
	if err == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, err.Error())
}

// answered counts a request. Its error is one of those that clients have to live with.
func (b *book) answered(what string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.done[what]++
		return
	}
	text := err.Error()
	if i := strings.Index(text, "https://"); i >= 0 {
		text = text[:i] + "…" + text[max(i, strings.LastIndex(text, ": ")):]
	}
	b.failures[what+": "+text]++
}

// acknowledged notes that a write was done just now.
func (b *book) acknowledged() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !b.acked.IsZero() {
		b.pause = max(b.pause, now.Sub(b.acked))
	}
	b.acked = now
}

// chapter returns what happened since the last call, in lines to be printed.
func (b *book) chapter() (text []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for what, n := range b.done {
		text = append(text, fmt.Sprintf("%s: %d", what, n))
	}
	slices.Sort(text)
	text = []string{strings.Join(text, ", "), fmt.Sprintf("longest time without an acknowledged write: %s",
		b.pause.Round(time.Millisecond))}
	var failures []string
	for what, n := range b.failures {
		failures = append(failures, fmt.Sprintf("%d times: %s", n, what))
	}
	slices.Sort(failures)
	clear(b.done)
	clear(b.failures)
	b.pause = 0
	return append(text, failures...)
}

// judgement returns what was wrong since the last call.
func (b *book) judgement() (problems []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	problems, b.problems = b.problems, nil
	return problems
}
