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
