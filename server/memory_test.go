package server

import (
	"slices"
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
