package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/backup/store"
)

// at reads a time of a day, as 26T13:00.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse("2006-01-02T15:04", "2026-11-"+text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func those(t *testing.T, times string) (all []Backup) {
	t.Helper()
	for _, text := range strings.Fields(times) {
		when := at(t, text)
		all = append(all, Backup{Name: Name("f", "us", "us-1", "", when), At: when})
	}
	return all
}

// as returns backups as what they are.
func as(what Standing, all []Backup) (ranked []Ranked) {
	for _, b := range all {
		ranked = append(ranked, Ranked{b, what})
	}
	return ranked
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		every            time.Duration
		taken, now, want string
	}{
		{24 * time.Hour, "", "26T13:00", "26T00:00"},                  // none: this slot has to have one
		{24 * time.Hour, "26T00:01", "26T13:00", "27T00:00"},          // this slot has one
		{24 * time.Hour, "25T23:59", "26T13:00", "26T00:00"},          // missed
		{24 * time.Hour, "20T00:01 22T00:00", "26T13:00", "23T00:00"}, // missed often: once, since the next
		{24 * time.Hour, "20T00:01 26T13:00", "26T13:00", "27T00:00"}, // is in this slot
		{6 * time.Hour, "26T06:00", "26T11:59", "26T12:00"},           //
		{6 * time.Hour, "26T06:00", "26T12:00", "26T12:00"},           //
		{time.Hour, "26T06:05 26T06:10", "26T06:20", "26T07:00"},      // two nodes
		{time.Hour, "26T06:00 30T00:00", "26T07:30", "26T07:00"},      // a clock was wrong
		{time.Hour, "30T00:00", "26T07:30", "26T07:00"},               //
		{time.Hour, "26T07:05", "26T07:00", "26T08:00"},               // another clock is ahead, a little
	} {
		p := Plan{Every: c.every}
		if got := p.Due(those(t, c.taken), at(t, c.now)); !got.Equal(at(t, c.want)) {
			t.Errorf("every %v, taken at %s: at %s due at %s, want %s", c.every, c.taken, c.now,
				got.Format("02T15:04"), c.want)
		}
	}
}

func TestExcess(t *testing.T) {
	const four = "23T00:00 24T00:00 25T00:00 26T00:00"
	for _, c := range []struct {
		keep             int
		keepFor          time.Duration
		taken, now, want string
	}{
		{0, 0, four, "26T01:00", ""},
		{4, 0, four, "26T01:00", ""},
		{2, 0, four, "26T01:00", "23T00:00 24T00:00"},
		{1, 0, four, "30T01:00", "23T00:00 24T00:00 25T00:00"},
		{0, 50 * time.Hour, four, "26T01:00", "23T00:00"},                    // 49 hours are young
		{3, 20 * time.Hour, four, "26T01:00", "23T00:00"},                    // either keeps
		{1, 50 * time.Hour, four, "26T01:00", "23T00:00"},                    //
		{0, 50 * time.Hour, four, "30T01:00", "23T00:00 24T00:00"},           // old, and too few newer ones
		{0, time.Hour, four, "30T01:00", "23T00:00 24T00:00 25T00:00"},       // the newest never goes
		{0, time.Hour, "23T00:00", "30T01:00", ""},                           //
		{2, 0, four + " 29T00:00 30T00:00", "26T01:00", "23T00:00 24T00:00"}, // of a time to come: does not count
		{1, 0, "29T00:00 30T00:00", "26T01:00", ""},                          // nor go
		{5, 0, "", "26T01:00", ""},
	} {
		p := Plan{Every: 24 * time.Hour, Keep: c.keep, KeepFor: c.keepFor}
		var got []string
		excess, _, _ := p.Excess(as(Own, those(t, c.taken)), at(t, c.now))
		for _, b := range excess {
			got = append(got, b.At.Format("02T15:04"))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("keep %d and %v of %s at %s: %s go, want %s", c.keep, c.keepFor, c.taken, c.now, got, c.want)
		}
	}
}

// What may be given up pushes out nothing that others have too. What does not say where it is pushes out nothing, and
// goes; what is not of the history does neither.
func TestExcessOfSeveralKinds(t *testing.T) {
	const four = "23T00:00 24T00:00 25T00:00 26T00:00"
	const o, u, a, x = Own, Unplaced, Alone, Astray
	for _, c := range []struct {
		keep      int
		keepFor   time.Duration
		are       [4]Standing
		now, want string
		spared    int
	}{
		{2, 0, [4]Standing{o, o, o, o}, "26T01:00", "23T00:00 24T00:00", 0},
		{2, 0, [4]Standing{o, o, o, a}, "26T01:00", "23T00:00", 1},
		{2, 0, [4]Standing{o, o, a, a}, "26T01:00", "", 2},
		{1, 0, [4]Standing{o, o, a, a}, "26T01:00", "23T00:00 25T00:00", 1},
		{2, 0, [4]Standing{a, a, a, a}, "26T01:00", "23T00:00 24T00:00", 0},
		{0, 50 * time.Hour, [4]Standing{o, o, o, a}, "30T01:00", "", 2},
		{0, time.Hour, [4]Standing{o, o, a, a}, "30T01:00", "23T00:00 25T00:00", 1}, // neither newest goes
		{0, 40 * time.Hour, [4]Standing{o, o, o, a}, "30T01:00", "23T00:00", 2},     // what was young then stays so
		{0, 0, [4]Standing{o, o, a, a}, "26T01:00", "", 0},
		{2, 0, [4]Standing{x, o, x, o}, "26T01:00", "", 0},
		{1, 0, [4]Standing{x, o, o, x}, "26T01:00", "24T00:00", 0},
		{1, 0, [4]Standing{Elsewhere, o, Foreign, o}, "26T01:00", "24T00:00", 0},
		{1, 0, [4]Standing{u, u, u, u}, "26T01:00", "", 0},
		{2, 0, [4]Standing{u, u, u, o}, "26T01:00", "", 0},
		{2, 0, [4]Standing{u, u, o, o}, "26T01:00", "23T00:00 24T00:00", 0},
		{1, 0, [4]Standing{o, u, u, o}, "26T01:00", "23T00:00 24T00:00 25T00:00", 0},
		{1, 0, [4]Standing{o, o, u, u}, "26T01:00", "23T00:00", 0},
		{1, 0, [4]Standing{u, u, a, a}, "26T01:00", "25T00:00", 2},
	} {
		var all []Ranked
		for i, b := range those(t, four) {
			all = append(all, Ranked{b, c.are[i]})
		}
		p := Plan{Every: 24 * time.Hour, Keep: c.keep, KeepFor: c.keepFor}
		var got []string
		excess, _, spared := p.Excess(all, at(t, c.now))
		for _, b := range excess {
			got = append(got, b.At.Format("02T15:04"))
		}
		if strings.Join(got, " ") != c.want || spared != c.spared {
			t.Errorf("keep %d and %v of %v, at %s: %s go and %d are spared, want %s and %d", c.keep, c.keepFor, c.are,
				c.now, got, spared, c.want, c.spared)
		}
	}
}

func TestRetry(t *testing.T) {
	var got []string
	for failures := 1; failures < 9; failures++ {
		got = append(got, Plan{Every: 24 * time.Hour}.Retry(failures).String())
	}
	if want := "[1m0s 2m0s 4m0s 8m0s 16m0s 30m0s 30m0s 30m0s]"; fmt.Sprint(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (Plan{Every: 5 * time.Minute}).Retry(1 << 40); got != 5*time.Minute {
		t.Error(got)
	}
}

// Only what is a whole backup of this fleet by its name and size is one.
func TestOf(t *testing.T) {
	when := time.Date(2026, 11, 26, 22, 44, 39, 5, time.FixedZone("", 3600))
	name := Name("a.b-c_d", "us", "us-1", "", when)
	if want := "fleet@a.b-c_d/snapshot@20261126T214439Z@us@us-1.mimir"; name != want {
		t.Errorf("%s, want %s", name, want)
	}
	if err := store.CheckName(Name(strings.Repeat("f", 63), strings.Repeat("r", 63), strings.Repeat("n", 63),
		strings.Repeat("a", 16), when)); err != nil {
		t.Error(err)
	}
	if want := "fleet@f/snapshot@20261126T214439Z@us@us-1@01ab.mimir"; Name("f", "us", "us-1", "01ab", when) != want {
		t.Errorf("%s, want %s", Name("f", "us", "us-1", "01ab", when), want)
	}
	p := &place{objects: map[string]string{}}
	for _, other := range []string{
		strings.Replace(name, "us-1", "us-1@", 1), strings.Replace(name, "us-1", "us-1@a@b", 1),
		name, strings.Replace(name, "a.b", "a", 1), name + ".part", strings.Replace(name, "@us@", "@", 1),
		strings.Replace(name, "20261126", "20261326", 1), strings.Replace(name, "@us@", "@u@s@", 1),
		strings.Replace(name, "snapshot@", "log@", 1), "notes.txt",
		strings.Replace(name, "T214439Z", "T214438Z", 1),
	} {
		p.objects[other] = strings.Repeat("x", 1056)
	}
	p.objects[strings.Replace(name, "us-1", "us-2", 1)] = strings.Repeat("x", 1055)
	p.objects[strings.Replace(name, "us-1", "us-3", 1)] = ""
	got, err := Taken(t.Context(), p, "a.b-c_d")
	if err != nil || len(got) != 2 || got[1].Name != name || got[1].Region != "us" || got[1].Node != "us-1" ||
		got[1].Bytes != 1056 || !got[1].At.Equal(when.Truncate(time.Second)) ||
		!slices.IsSortedFunc(got, func(a, b Backup) int { return a.At.Compare(b.At) }) {
		t.Errorf("%+v", got)
	}
}

// A clock that is far ahead lets nothing go that a right one would keep, however often another node has it: for each
// backup that goes as old there are as many newer ones as the time has slots. What stays for that reason is told.
func TestNoClockDecidesAlone(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for name, p := range map[string]Plan{
		"by time":            {Every: 6 * time.Hour, KeepFor: month},
		"by number and time": {Every: 6 * time.Hour, Keep: 5, KeepFor: month},
	} {
		right := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
		var taken []Backup
		take := func(clock time.Time) (gone, held int) {
			taken = append(taken, Backup{Name: Name("f", "us", "n", "", clock), At: clock})
			slices.SortFunc(taken, func(a, b Backup) int { return a.At.Compare(b.At) })
			excess, held, _ := p.Excess(as(Own, taken), clock)
			taken = slices.DeleteFunc(taken, func(b Backup) bool { return slices.Contains(excess, b) })
			return len(excess), held
		}
		for range 200 {
			take(right)
			right = right.Add(p.Every)
		}
		if len(taken) != 120 {
			t.Fatalf("%s: %d of a month are kept", name, len(taken))
		}
		for ahead := time.Duration(1); ahead < 4; ahead++ { // the clock of one leader after the other jumps
			before := slices.Clone(taken)
			gone, held := take(right.Add(ahead * 365 * 24 * time.Hour))
			if gone > 1 || len(taken) < 120 || held < 110 || !p.Doubts(held) {
				t.Errorf("%s: a clock %d years ahead let %d go, %d are held, %d of %d are there", name, ahead, gone,
					held, len(taken), len(before))
			}
		}
		for range 10 { // and a right one takes over again
			if gone, held := take(right); gone > 1 || held != 0 {
				t.Errorf("%s: the right clock let %d go, %d are held", name, gone, held)
			}
			right = right.Add(p.Every)
		}
	}
}
