package server

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What this machine can never hold is refused, with the key, its value, what there is and what to write; what may
// become right is told.
func TestLimitsAreHeldAgainstTheMachine(t *testing.T) {
	const gib = 1 << 30
	here := machine{disk: 100 * gib, free: 20 * gib, memory: 8 * gib}
	for _, test := range []struct {
		why    string
		change func(*Config)
		on     machine
		refuse string
		warn   string
	}{
		{"the defaults", func(*Config) {}, here, "", ""},
		{"the defaults, nothing known", func(*Config) {}, machine{}, "", ""},
		{"the defaults on a small disk", func(*Config) {}, machine{disk: gib, free: gib, memory: 8 * gib}, "",
			"retain-bytes 8GiB is more than the disk has in all, 1.0GiB"},
		{"a reserve above the disk", func(c *Config) { c.DiskReserveBytes = 100 << 40 }, here,
			"disk-reserve-bytes 100TiB is not less than the disk of data-dir d has in all, 100.0GiB", ""},
		{"a reserve above what is free", func(c *Config) { c.DiskReserveBytes = 30 * gib }, here, "",
			"disk-reserve-bytes 30GiB is more than the 20.0GiB that the disk has free"},
		{"a reserve that reserves nothing", func(c *Config) { c.DiskReserveBytes = 16 << 20 }, here, "",
			"disk-reserve-bytes 16MiB is less than mem-table-bytes and segment-bytes together, 128MiB"},
		{"no log is released", func(c *Config) { c.Replication.CompactBytes = 1 << 40 }, here,
			"compact-bytes 1TiB is not less than the disk", ""},
		{"a quota above the disk", func(c *Config) { c.QuotaBytes = 1 << 40 }, here, "",
			"quota-backend-bytes 1TiB is never reached"},
		{"a quota that nothing fits in", func(c *Config) { c.QuotaBytes = 5 << 10 }, here, "",
			"quota-backend-bytes 5KiB is less than a store may take that has nothing in it"},
		{"a log above the disk", func(c *Config) { c.Replication.CopyRetainBytes = 1 << 40 }, here, "",
			"copy-retain-bytes 1TiB is more than the disk has in all"},
		{"a cache above the memory", func(c *Config) { c.Store.CacheBytes = 8 * gib }, here,
			"cache-bytes 8GiB is not less than the memory that this process may have, 8.0GiB: write less", ""},
		{"a cache with what is beside it above the memory", func(c *Config) { c.Store.CacheBytes = 6 * gib }, here, "",
			"are more than the memory, 8.0GiB"},
		{"a memory table above the memory", func(c *Config) { c.Store.MemTableBytes = 2 * gib }, machine{memory: gib},
			"mem-table-bytes 2GiB is not less than the memory", ""},
		{"a window above the memory", func(c *Config) { c.Replication.StreamWindowBytes = 1 << 40 }, here,
			"stream-window-bytes 1TiB is not less than the memory", ""},
		{"a budget above the memory", func(c *Config) { c.MemoryBytes = 16 * gib }, here, "",
			"memory-bytes 16GiB is more than the memory that this process may have, 8.0GiB"},
		{"a budget that is too small for the caches", func(c *Config) { c.MemoryBytes = gib / 2 }, here, "",
			"are more than three quarters of memory-bytes, 512MiB"},
		{"answers above the memory", func(c *Config) { c.Limits.AnswerBytes = 1 << 40 }, here, "",
			"max-answer-bytes 1TiB is more than the memory"},
		{"requests that end before an election", func(c *Config) { c.Limits.RequestTimeout = time.Second }, here, "",
			"request-timeout 1s is less than twice tick-interval times election-ticks, 2s"},
	} {
		c := DefaultConfig()
		c.Replication.DataDir = "d"
		test.change(&c)
		warnings, err := c.fit(test.on)
		said := strings.Join(warnings, "; ")
		switch {
		case test.refuse == "" && err != nil, test.refuse != "" && (!errors.Is(err, ErrConfig) ||
			!strings.Contains(err.Error(), test.refuse)):
			t.Errorf("%s: %v, want %q", test.why, err, test.refuse)
		case test.warn == "" && said != "", !strings.Contains(said, test.warn):
			t.Errorf("%s: warns %q, want %q", test.why, said, test.warn)
		}
	}
}

// The disk of a directory that is not there yet is known: the first start is held against it as the second is.
func TestTheDiskOfADirectoryToBeMadeIsKnown(t *testing.T) {
	there, _, err := measure(t.TempDir())
	if err != nil && runtime.GOOS != "linux" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	later, _, err := measure(filepath.Join(t.TempDir(), "not", "yet"))
	if err != nil || later != there {
		t.Errorf("%d of %d, %v", later, there, err)
	}
	c := testConfig(t, "n")
	c.Replication.DataDir, c.DiskReserveBytes = filepath.Join(t.TempDir(), "not", "yet"), 1<<60
	if err := Run(t.Context(), c, Options{LogTo: &logged{}}); !errors.Is(err, ErrConfig) ||
		!strings.Contains(err.Error(), "disk-reserve-bytes 1024PiB") && !strings.Contains(err.Error(), "1048576TiB") {
		t.Errorf("started with it: %v", err)
	}
}

// A quota leaves room for what is in memory: else what was deleted would count until the tables are full.
func TestMemoryTablesFitTheQuota(t *testing.T) {
	for _, c := range []struct{ quota, table, want int64 }{
		{0, 64 << 20, 64 << 20}, {8 << 30, 64 << 20, 64 << 20}, {8 << 30, 2 << 20, 2 << 20},
		{96 << 20, 64 << 20, 6 << 20}, {16 << 20, 64 << 20, 1 << 20},
	} {
		config := DefaultConfig()
		config.QuotaBytes, config.Store.MemTableBytes = c.quota, uint64(c.table)
		if got := config.memTableBytes(); got != uint64(c.want) {
			t.Errorf("quota %d, tables of %d: %d, want %d", c.quota, c.table, got, c.want)
		}
	}
}
