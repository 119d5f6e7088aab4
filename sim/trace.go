package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// traceLines is how much of the story is kept: enough for what led to a failure.
const traceLines = 50_000

// trace gathers the story of a run and what went wrong. It is safe for concurrent use, and the writer of the nodes'
// logs.
type trace struct {
	mu       sync.Mutex
	began    time.Time
	length   time.Duration // of the run, once it is over
	lines    []string
	failures []string
	failed   int
	heard    map[string]int // how often nodes logged what is counted
}

// What nodes log and a run counts.
const (
	wentBack  = "has the state at the fork, from a checkpoint of its own"
	bootstrap = "bootstraps"
)

func newTrace() *trace {
	return &trace{began: time.Now(), heard: map[string]int{wentBack: 0, bootstrap: 0}}
}

// tell notes an event of the simulation.
func (t *trace) tell(format string, args ...any) {
	t.add("* " + fmt.Sprintf(format, args...))
}

// wrong notes that an invariant is broken.
func (t *trace) wrong(invariant, format string, args ...any) {
	text := "invariant " + invariant + ": " + fmt.Sprintf(format, args...)
	t.add("! " + text)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed++; len(t.failures) < 20 {
		t.failures = append(t.failures, text)
	}
}

// Write implements io.Writer.
func (t *trace) Write(p []byte) (int, error) {
	line := strings.TrimSuffix(string(p), "\n")
	t.add("  " + line)
	t.mu.Lock()
	defer t.mu.Unlock()
	for what := range t.heard {
		if strings.Contains(line, "msg="+what) || strings.Contains(line, `msg="`+what+`"`) {
			t.heard[what]++
		}
	}
	return len(p), nil
}

func (t *trace) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.length
	if at == 0 {
		at = time.Since(t.began)
	}
	if len(t.lines) >= traceLines {
		t.lines = t.lines[traceLines/10:]
	}
	t.lines = append(t.lines, fmt.Sprintf("%10.6f %s", at.Seconds(), line))
}

// stop ends virtual time, and returns how long the run was.
func (t *trace) stop() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.length = time.Since(t.began)
	return t.length
}

// last returns the last n lines.
func (t *trace) last(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(0, len(t.lines)-n):], "\n")
}
