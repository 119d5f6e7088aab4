package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// journalLines is how much of the story is kept: enough for what led to a failure.
const journalLines = 50_000

// journal gathers the story of a run and what went wrong. It is safe for concurrent use, and the writer of the nodes'
// logs.
type journal struct {
	mu       sync.Mutex
	began    time.Time
	length   time.Duration // of the run, once it is over
	lines    []string
	failures []string
	failed   int
}

func newJournal() *journal { return &journal{began: time.Now()} }

// tell notes an event of the simulation.
func (j *journal) tell(format string, args ...any) {
	j.add("* " + fmt.Sprintf(format, args...))
}

// wrong notes that an invariant is broken.
func (j *journal) wrong(invariant, format string, args ...any) {
	text := "invariant " + invariant + ": " + fmt.Sprintf(format, args...)
	j.add("! " + text)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed++; len(j.failures) < 20 {
		j.failures = append(j.failures, text)
	}
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.add("  " + strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := j.length
	if at == 0 {
		at = time.Since(j.began)
	}
	if len(j.lines) >= journalLines {
		j.lines = j.lines[journalLines/10:]
	}
	j.lines = append(j.lines, fmt.Sprintf("%10.6f %s", at.Seconds(), line))
}

// stop ends virtual time, and returns how long the run was.
func (j *journal) stop() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.length = time.Since(j.began)
	return j.length
}

// last returns the last n lines.
func (j *journal) last(n int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines[max(0, len(j.lines)-n):], "\n")
}
