package server

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What nobody set is a part of memory-bytes, and what somebody did is not.
func TestMemoryIsShared(t *testing.T) {
	for _, c := range []struct {
		settings, cache, table, count, answer, limit string
	}{
		{"", "256MiB", "64MiB", "128MiB", "1GiB", "0"},
		{"memory-bytes: 256MiB", "32MiB", "16MiB", "16MiB", "64MiB", "192MiB"},
		{"memory-bytes: 256MiB\ncache-bytes: 8MiB\nmax-answer-bytes: 100MiB",
			"8MiB", "16MiB", "16MiB", "100MiB", "192MiB"},
		{"memory-bytes: 16GiB", "2GiB", "64MiB", "1GiB", "1GiB", "12GiB"}, // no table or answer is above its default
	} {
		config, err := loadText(t, goodFile+c.settings+"\n", nil)
		if err != nil {
			t.Fatalf("%q: %v", c.settings, err)
		}
		got := []string{Bytes(config.Store.CacheBytes).String(), Bytes(config.Store.MemTableBytes).String(),
			Bytes(config.Store.CountBytes).String(), Bytes(config.Limits.AnswerBytes).String(),
			Bytes(config.MemoryLimit()).String()}
		if want := []string{c.cache, c.table, c.count, c.answer, c.limit}; !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", c.settings, got, want)
		}
	}
}

// The budget of a running node is what it started with: what follows from another one waits for the restart with it,
// and what is set beside it does not.
func TestAnotherBudgetWaitsWhole(t *testing.T) {
	for _, c := range []struct {
		now, next      string
		answer         string
		changed, waits []string
	}{
		{"memory-bytes: 512MiB", "memory-bytes: 16GiB", "128MiB", nil, []string{"memory-bytes"}},
		{"", "memory-bytes: 512MiB", "1GiB", nil, []string{"memory-bytes"}},
		{"memory-bytes: 512MiB", "", "128MiB", nil, []string{"memory-bytes"}},
		{"memory-bytes: 512MiB", "memory-bytes: 1GiB\nmax-answer-bytes: 200MiB", "200MiB",
			[]string{"max-answer-bytes"}, []string{"memory-bytes"}},
		{"memory-bytes: 512MiB\nmax-answer-bytes: 200MiB", "memory-bytes: 512MiB", "128MiB",
			[]string{"max-answer-bytes"}, nil},
	} {
		now, err := loadText(t, goodFile+c.now+"\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		next, err := loadText(t, goodFile+c.next+"\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		keys := func(all []difference) (keys []string) {
			for _, d := range all {
				keys = append(keys, d.key)
			}
			return keys
		}
		changed, waits := merge(now, next)
		if got := Bytes(now.Limits.AnswerBytes).String(); got != c.answer || !slices.Equal(keys(changed), c.changed) ||
			!slices.Equal(keys(waits), c.waits) {
			t.Errorf("%q, then %q: max-answer-bytes %s, want %s; changed %v, want %v; waits %v, want %v", c.now, c.next,
				got, c.answer, changed, c.changed, waits, c.waits)
		}
	}
}

// A refusal and a warning name what somebody set, or can set, and never a part of memory-bytes as if he had.
func TestTheMemoryIsHeldAgainstWhatWasSet(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	const beyond = ": the node will not stay within it where it comes to that"
	huge := Bytes(1 << 62).String()
	for _, test := range []struct {
		settings     string
		memory       uint64
		refuse, warn string
	}{
		{"memory-bytes: 64GiB", 8 * gib,
			"memory-bytes 64GiB has cache-bytes be 8GiB, which is not less than the memory that this process may " +
				"have, 8.0GiB: write less", ""},
		{"", 200 * mib, "cache-bytes 256MiB, its default, is not less than the memory that this process may have, " +
			"200.0MiB: set it, or memory-bytes, of which it is a part then", ""},
		{"cache-bytes: 256MiB", 200 * mib, "cache-bytes 256MiB is not less than the memory that this process may " +
			"have, 200.0MiB: write less", ""},
		{"memory-bytes: 48GiB", 8 * gib, "",
			"memory-bytes 48GiB is more than the memory that this process may have, 8.0GiB"},
		{"memory-bytes: 4GiB", 700 * mib, "",
			"memory-bytes 4GiB is more than the memory that this process may have, 700.0MiB"},
		{"memory-bytes: 1GiB\nmax-answer-bytes: 2GiB", 8 * gib, "",
			"max-answer-bytes 2GiB is more than memory-bytes, 1GiB" + beyond},
		{"memory-bytes: 1GiB\nmax-effect-bytes: 2GiB", 8 * gib, "",
			"max-effect-bytes 2GiB is more than memory-bytes, 1GiB" + beyond},
		{"memory-bytes: 1GiB\ndurability.bytes: 2GiB", 0, "",
			"durability.bytes 2GiB is more than memory-bytes, 1GiB" + beyond},
		{"durability.bytes: 16GiB", 8 * gib, "", "durability.bytes 16GiB is more than the memory, 8.0GiB"},
		{"memory-bytes: 1GiB\nmax-answer-bytes: 1GiB", 8 * gib, "", ""},
		{"memory-bytes: 1GiB\ncache-bytes: 4194304TiB\ncount-bytes: 4194304TiB", 0, "", "cache-bytes " + huge +
			", half as much beside it, two tables of mem-table-bytes 64MiB and count-bytes " + huge +
			" are more than three quarters of memory-bytes, 1GiB: the node will not stay within it"},
		{"memory-bytes: 512MiB\ncount-bytes: 1GiB\ncounted-keys: 0", 8 * gib, "", ""},
		{"memory-bytes: 512MiB\ncount-bytes: 0", 8 * gib, "", ""},
	} {
		c, err := loadText(t, goodFile+test.settings+"\n", nil)
		if err != nil {
			t.Fatalf("%q: %v", test.settings, err)
		}
		warnings, err := c.fit(machine{memory: test.memory})
		if test.refuse != "" && (!errors.Is(err, ErrConfig) || !strings.HasSuffix(err.Error(), test.refuse)) ||
			test.refuse == "" && err != nil {
			t.Errorf("%q: %v, want %q", test.settings, err, test.refuse)
		}
		if got := strings.Join(warnings, "; "); got != test.warn {
			t.Errorf("%q: warns %q, want %q", test.settings, got, test.warn)
		}
	}
}

// A budget that is refused has no parts, which nobody set, be refused with it.
func TestABudgetThatIsRefusedHasNoParts(t *testing.T) {
	c := DefaultConfig()
	c.MemoryBytes = 4 << 20
	c.complete()
	for _, err := range c.faults() {
		if text := err.Error(); strings.Contains(text, "cache-bytes") || strings.Contains(text, "mem-table-bytes") {
			t.Error(err)
		}
	}
}
