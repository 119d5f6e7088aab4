package sim

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

var (
	offsets = flag.Int("table.offsets", 0, "how often each row of the table of failures happens, each time at another "+
		"offset from the renewals; default 2, under the race detector 1, and that of a part of the rows")
	rowWords = flag.String("table.row", "", "only rows with these words")
	tableLog = flag.Int("table.trace", 60, "lines of the story told with a row that fails")
)

// raceStep is of how many rows one is run under the race detector, in which they take many times longer.
const raceStep = 6

// TestFailureTable has each row of the table of failures happen, measures in virtual time, and prints the table: see
// docs/failover.md. Whatever sim checks of a fleet that votes is checked after each.
func TestFailureTable(t *testing.T) {
	count, step := *offsets, 1
	if count == 0 {
		count = 2
		if raceEnabled {
			count, step = 1, raceStep
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%s\n", heading)
	for i, r := range rows() {
		if !strings.Contains(r.fault, *rowWords) || i%step != 0 {
			continue
		}
		var all []*measured
		t.Run(strings.ReplaceAll(r.fault, " ", "_"), func(t *testing.T) {
			times := count
			if r.once && *offsets == 0 {
				times = 1
			}
			for i := range times {
				all = append(all, happen(t, r, uint64(i+1)))
			}
		})
		fmt.Fprintf(&table, "%s\n", r.line(all))
	}
	t.Logf("%d times each row, lease %v, patience %v, round trip %v; times are from the fault, "+
		"and where there is a *, from its end\n%s", count, leaseTime,
		patience, trip, table.String())
}

// happen has a row happen once, and fails t where it is not as it says.
func happen(t *testing.T, r *row, seed uint64) *measured {
	cryptotest.SetGlobalRandom(t, seed)
	var m *measured
	var j *trace
	virtual.Test(t, func(t *testing.T) { m, j = play(t.Context(), r, seed) })
	failures := r.against(m)
	for _, f := range j.failures {
		if r.breaks == "" || !strings.HasPrefix(f, "invariant "+r.breaks) {
			failures = append(failures, f)
		}
	}
	for _, f := range failures[:min(len(failures), 3)] {
		t.Errorf("offset %d: %s", seed, f)
	}
	if len(failures) > 0 && *tableLog > 0 {
		t.Logf("%+v\n%s", m, j.last(*tableLog))
	}
	return m
}

// against returns what is not as the row says.
func (r *row) against(m *measured) (wrong []string) {
	add := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if m.primary != r.primary && !slices.Contains(r.or, m.primary) {
		add("primary is %q, and not %q", m.primary, r.primary)
	}
	if r.within != sometime && (m.again < r.within.least || m.again > r.within.most) {
		add("a write is acknowledged again after %v, and not within %v", m.again, r.within)
	}
	if r.heals != (span{}) && (m.healed < r.heals.least || m.healed > r.heals.most) {
		add("a write is acknowledged %v after the end, and not within %v", m.healed, r.heals)
	}
	if r.fences > 0 && max(m.write, m.read) > r.fences {
		add("a acknowledged until %v and confirmed until %v, and not only until %v", m.write, m.read, r.fences)
	}
	if r.fences > 0 && m.again >= 0 && r.breaks == "" && m.epoch > 1 && max(m.write, m.read) >= m.again {
		add("a acknowledged until %v and confirmed until %v, and another region from %v on", m.write, m.read, m.again)
	}
	if m.lost > 0 && m.lost > m.bound {
		add("%d acknowledged writes are lost, %d at most were said to be", m.lost, m.bound)
	}
	if m.lost > 0 && m.epoch == 1 {
		add("%d acknowledged writes are lost, and nothing moved", m.lost)
	}
	return wrong
}

// span is how long something takes.
type span struct{ least, most time.Duration }

func (s span) String() string {
	switch {
	case s == sometime:
		return "-"
	case s.most < 0:
		return "never"
	case s.least == s.most:
		return seconds(s.most)
	}
	return seconds(s.least) + " to " + seconds(s.most)
}

func seconds(d time.Duration) string {
	if d < 0 {
		return "never"
	}
	return fmt.Sprintf("%.2f", d.Seconds())
}

const layout = "| %-62s | %-7s | %-14s | %-12s | %-12s | %s |"

var heading = fmt.Sprintf(layout, "fault", "primary", "within, s", "measured", "a answers to", "refused or lost") +
	"\n|---|---|---|---|---|---|"

// line is what the table says of a row.
func (r *row) line(all []*measured) string {
	var again, answers span
	said, lost, bound := r.says, span{}, 0
	primaries := map[string]bool{}
	for i, m := range all {
		last := max(m.write, m.read)
		primaries[cmp.Or(m.primary, "nobody")] = true
		if i == 0 {
			answers = span{last, last}
			lost = span{time.Duration(m.lost), time.Duration(m.lost)}
		}
		if r.heals != (span{}) {
			m.again = m.healed
		}
		if i == 0 {
			again = span{m.again, m.again}
		}
		again = span{min(again.least, m.again), max(again.most, m.again)}
		answers = span{min(answers.least, last), max(answers.most, last)}
		lost = span{min(lost.least, time.Duration(m.lost)), max(lost.most, time.Duration(m.lost))}
		bound = max(bound, m.bound)
		for _, w := range m.said {
			if !strings.Contains(said, w) {
				said += "; " + w
			}
		}
	}
	if bound > 0 && lost.most > 0 {
		said += fmt.Sprintf("; %d to %d acknowledged lost, at most %d was said", lost.least, lost.most, bound)
	}
	primary := strings.Join(slices.Sorted(maps.Keys(primaries)), ", ")
	fenced := "-"
	if r.fences > 0 {
		fenced = strings.ReplaceAll(answers.String(), "never", "before")
	}
	within := r.within.String()
	if r.heals != (span{}) {
		within = r.heals.String() + " *"
	}
	return fmt.Sprintf(layout, r.fault, primary, within, again, fenced, strings.TrimPrefix(said, "; "))
}
