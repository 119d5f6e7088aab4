package witness

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
)

// maxLives is how many starts a line remembers, the last ones of which a word was told.
const maxLives = 32

// line is the life of a directory: every start on it that somebody heard of, and how often its ballot was written by
// the end of each. An older copy, put in its place, is another life from where it was made: it does not know of what
// came after, and what others heard of that shows it. It is JSON in a file: never change a name. It is never changed
// in place.
type line struct {
	ID     string  `json:"id"`     // drawn when the directory began to count; a later one is greater
	Key    string  `json:"key"`    // drawn with it, and never told; a copy has it too
	Writes uint64  `json:"writes"` // how often the ballot was written
	Lives  []spell `json:"lives"`  // at most maxLives, the one under way last
}

// spell is a start, and what came of it.
type spell struct {
	Start uint64 `json:"start"` // the number of it
	Boot  string `json:"boot"`  // drawn for it
	Told  bool   `json:"told"`  // a word of it may have been told
	// Ended is how often the ballot had been written when the next one began; not told while it is under way.
	Ended uint64 `json:"ended,omitempty"`
}

// next returns the line with a start more, in the place of the last one if nobody can have heard of that: however often
// it is started in vain, no life is forgotten. A directory of a version that does not count begins a line: nothing that
// was heard is of it.
func (l *line) next(now time.Time) *line {
	out := &line{ID: fmt.Sprintf("%016x", max(0, now.UnixMilli())) + draw(8), Key: draw(32)}
	if l != nil && l.ID != "" && l.Key != "" {
		out.ID, out.Key, out.Writes, out.Lives = l.ID, l.Key, l.Writes, slices.Clone(l.Lives)
	}
	start := uint64(1)
	switch n := len(out.Lives); {
	case n == 0:
	case out.Lives[n-1].Told:
		out.Lives[n-1].Ended = out.Writes
		start = out.Lives[n-1].Start + 1
	default:
		start, out.Lives = out.Lives[n-1].Start, out.Lives[:n-1]
	}
	out.Lives = append(out.Lives, spell{Start: start, Boot: draw(12)})
	out.Lives = out.Lives[max(0, len(out.Lives)-maxLives):]
	return out
}

// written returns the line with a write more.
func (l *line) written() *line {
	out := *l
	out.Writes++
	return &out
}

// telling returns the line whose start that is under way may be told.
func (l *line) telling() *line {
	out := *l
	out.Lives = slices.Clone(l.Lives)
	out.Lives[len(out.Lives)-1].Told = true
	return &out
}

// told reports whether the start that is under way may be told.
func (l *line) told() bool { return l.Lives[len(l.Lives)-1].Told }

// word is what is told of it.
func (l *line) word() fleet.Word {
	last := l.Lives[len(l.Lives)-1]
	w := fleet.Word{Line: l.ID, Start: last.Start, Boot: last.Boot, Writes: l.Writes}
	w.Seal = l.seal(w)
	return w
}

// seal is what a word of this line carries, as only who has the directory, or a copy of it, can make it.
func (l *line) seal(w fleet.Word) string {
	h := hmac.New(sha256.New, []byte(l.Key))
	fmt.Fprintf(h, "%q %d %q %d", w.Line, w.Start, w.Boot, w.Writes) // never fails
	return hex.EncodeToString(h.Sum(nil))
}

// lacks returns what was said of this directory that it does not know of, "" if it knows of that, or cannot tell. Only
// what a witness said on it counts, whoever brings that.
func (l *line) lacks(w fleet.Word) string {
	last := l.Lives[len(l.Lives)-1]
	switch {
	case w.Line != l.ID || !hmac.Equal([]byte(w.Seal), []byte(l.seal(w))):
		return ""
	case w.Start > last.Start:
		return fmt.Sprintf("start %d of it is known, and it knows of %d", w.Start, last.Start)
	}
	i := slices.IndexFunc(l.Lives, func(o spell) bool { return o.Start == w.Start })
	if i < 0 {
		return ""
	}
	switch o := l.Lives[i]; {
	case o.Boot != w.Boot:
		return fmt.Sprintf("start %d of it is known, and was another one than it knows of", w.Start)
	case w.Writes > l.writtenIn(o):
		return fmt.Sprintf("in start %d its ballot had been written %d times, and it knows of %d", w.Start, w.Writes,
			l.writtenIn(o))
	}
	return ""
}

// writtenIn returns how often the ballot had been written at the end of a life, or now in the one under way: a process
// may go back as well, with the memory of its machine.
func (l *line) writtenIn(o spell) uint64 {
	if o.Start == l.Lives[len(l.Lives)-1].Start {
		return l.Writes
	}
	return o.Ended
}

// draw returns so many random bytes, in hexadecimal.
func draw(size int) string {
	drawn := make([]byte, size)
	_, _ = rand.Read(drawn) // never fails
	return hex.EncodeToString(drawn)
}
