package kubernetes

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// line is what is known of one object, which one client writes and anybody reads: the versions that it has had, in
// order, each by the number and the name of the write that made it. It is judged what anybody sees of it.
type line struct {
	name string

	mu       sync.Mutex
	versions []string          // of the history; the number is the index
	acked    map[string]bool   // versions whose write was acknowledged
	open     map[string]int    // writes of unknown outcome, with the numbers that they would have
	lost     map[string]bool   // versions that were seen or acknowledged, and are in the history no longer
	floor    int               // no read that begins now may show a lower number; negative: any
	reign    int               // counts what may have lost something; a floor is of one reign
	resource map[string]string // version to resource version, where it is known
}

func newLine(name string) *line {
	return &line{name: name, acked: map[string]bool{}, open: map[string]int{}, lost: map[string]bool{}, floor: -1,
		resource: map[string]string{}}
}

// began is the beginning of a read.
type began struct{ floor, reign int }

func (l *line) begin() began {
	l.mu.Lock()
	defer l.mu.Unlock()
	return began{l.floor, l.reign}
}

// mayLose begins a reign that may lack what was acknowledged before.
func (l *line) mayLose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reign++
	l.floor = -1
}

// try says that a write is under way that would make that version.
func (l *line) try(version string, number int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[version] = number
}

// refused says that a write has not been done and will not be.
func (l *line) refused(version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, version)
}

// wrote says that a write was acknowledged.
func (l *line) wrote(at began, version, resource string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	number := l.open[version]
	delete(l.open, version)
	l.acked[version] = true
	l.resource[version] = resource
	if number > len(l.versions) {
		return fmt.Errorf("%s: %s was written as number %d behind %d", l.name, version, number, len(l.versions)-1)
	}
	if number < len(l.versions) {
		return fmt.Errorf("%s: number %d is %s, and %s was acknowledged for it", l.name, number, l.versions[number],
			version)
	}
	l.versions = append(l.versions, version)
	l.raise(at, number)
	return nil
}

func (l *line) raise(at began, number int) {
	if at.reign == l.reign {
		l.floor = max(l.floor, number)
	}
}

// resume judges what the writer itself reads, and goes on from there: a write of unknown outcome may have been done,
// and what is missing was lost. That there may be losses is the caller's to judge by what is lost in the end.
func (l *line) resume(at began, version string, number int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.judge(at, version, number); err != nil {
		return err
	}
	if opened, is := l.open[version]; is && opened == number && number <= len(l.versions) {
		l.cut(number)
		l.versions = append(l.versions, version)
		delete(l.open, version)
	}
	if number >= len(l.versions) || l.versions[number] != version {
		return fmt.Errorf("%s: %s is not number %d of %d, nor a write under way", l.name, version, number,
			len(l.versions))
	}
	l.cut(number + 1)
	l.raise(at, number)
	return nil
}

// cut forgets what is lost: everything from a number on.
func (l *line) cut(number int) {
	for _, version := range l.versions[number:] {
		l.lost[version] = true
	}
	l.versions = l.versions[:number]
}

// saw judges what a read showed that had begun before.
func (l *line) saw(at began, version string, number int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.judge(at, version, number)
}

func (l *line) judge(at began, version string, number int) error {
	if at.reign != l.reign || at.floor < 0 {
		return nil
	}
	if number < at.floor {
		return fmt.Errorf("%s: stale: read number %d, and %d was acknowledged before", l.name, number, at.floor)
	}
	if number == at.floor && l.versions[number] != version {
		return fmt.Errorf("%s: number %d is %s, and %s was read", l.name, number, l.versions[number], version)
	}
	if l.lost[version] {
		return fmt.Errorf("%s: read %s (number %d), which was lost before", l.name, version, number)
	}
	return nil
}

// passed judges what a watch or a cache showed one after the other: numbers rise, but where what was shown is lost.
// Whether it is, is known in the end.
func (l *line) passed(before string, beforeNumber int, after string, afterNumber int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before == after || afterNumber > beforeNumber || !slices.Contains(l.versions, before) {
		return nil
	}
	return fmt.Errorf("%s: shown was %s (number %d) after %s (number %d)", l.name, after, afterNumber, before,
		beforeNumber)
}

// missing returns the versions that were acknowledged, and are not in the history.
func (l *line) missing() (versions []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for version := range l.acked {
		if !slices.Contains(l.versions, version) {
			versions = append(versions, version)
		}
	}
	return versions
}

// TestLine tells what happens to one object, and what of it is an error: a step that begins with ! is to be one.
func TestLine(t *testing.T) {
	for name, steps := range map[string][]string{
		"in order":                {"try a 0", "wrote a", "begin", "saw a 0", "try b 1", "wrote b", "begin", "saw b 1"},
		"a read that was there":   {"try a 0", "wrote a", "begin", "try b 1", "wrote b", "saw a 0", "saw b 1"},
		"a stale read":            {"try a 0", "wrote a", "try b 1", "wrote b", "begin", "!saw a 0"},
		"done after all":          {"try a 0", "wrote a", "try b 1", "begin", "resume b 1", "begin", "!saw a 0"},
		"not done":                {"try a 0", "wrote a", "try b 1", "begin", "resume a 0", "try c 1", "wrote c"},
		"twice acknowledged":      {"try a 0", "wrote a", "try b 0", "!wrote b"},
		"a write of nobody":       {"try a 0", "wrote a", "begin", "!resume x 1"},
		"late":                    {"try a 0", "try b 0", "begin", "resume a 0", "try c 1", "begin", "!resume b 0"},
		"lost without a failover": {"try a 0", "wrote a", "try b 1", "wrote b", "begin", "!resume a 0"},
		"lost":                    {"try a 0", "wrote a", "try b 1", "wrote b", "lose", "begin", "resume a 0"},
		"shown though lost": {"try a 0", "wrote a", "try b 1", "wrote b", "lose", "begin", "resume a 0", "begin",
			"!saw b 1"},
		"read over a failover": {"try a 0", "wrote a", "try b 1", "wrote b", "begin", "lose", "saw a 0"},
		"a watch goes back":    {"try a 0", "wrote a", "try b 1", "wrote b", "!passed b 1 a 0"},
		"a watch goes back, rightly": {"try a 0", "wrote a", "try b 1", "wrote b", "lose", "begin", "resume a 0",
			"passed b 1 a 0"},
	} {
		t.Run(name, func(t *testing.T) {
			l, at := newLine("x"), began{}
			for _, step := range steps {
				if err := l.step(&at, step); (err != nil) != (step[0] == '!') {
					t.Fatalf("%s: %v", step, err)
				}
			}
		})
	}
}

func (l *line) step(at *began, step string) error {
	var verb, v1, v2 string
	var n1, n2 int
	if step[0] == '!' {
		step = step[1:]
	}
	fmt.Sscan(step, &verb, &v1, &n1, &v2, &n2)
	switch verb {
	case "try":
		l.try(v1, n1)
	case "wrote":
		return l.wrote(l.begin(), v1, "")
	case "begin":
		*at = l.begin()
	case "saw":
		return l.saw(*at, v1, n1)
	case "resume":
		return l.resume(*at, v1, n1)
	case "lose":
		l.mayLose()
	case "passed":
		return l.passed(v1, n1, v2, n2)
	default:
		return fmt.Errorf("no such step: %s", step)
	}
	return nil
}
