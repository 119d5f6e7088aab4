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

// What a node runs with already keeps no other setting from being read, however little of the machine is left: it is
// warned of. What is read and would not fit is refused.
func TestWhatRunsIsNoReasonToRefuseOthers(t *testing.T) {
	const gib = 1 << 30
	shrunk := machine{disk: 4 * gib, free: gib, memory: gib / 2}
	runs := DefaultConfig()
	runs.Replication.DataDir, runs.Store.CacheBytes, runs.Replication.CompactBytes = "d", 2*gib, 8*gib
	next := runs
	next.LogLevel = "debug"
	if _, err := next.fit(shrunk); !errors.Is(err, ErrConfig) {
		t.Errorf("starts: %v", err)
	}
	warnings, err := next.fitBeside(&runs, shrunk)
	said := strings.Join(warnings, "\n")
	if err != nil {
		t.Errorf("refused: %v", err)
	}
	for _, want := range []string{
		"cache-bytes 2GiB is not less than the memory that this process may have, 512.0MiB: write less; the node " +
			"runs with it, and would not start with it now",
		"compact-bytes 8GiB is not less than the disk", "so no log would ever be released; the node runs with it",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("warns %q, want %q", said, want)
		}
	}
	next.Store.CacheBytes = 3 * gib
	if _, err := next.fitBeside(&runs, shrunk); !errors.Is(err, ErrConfig) ||
		!strings.Contains(err.Error(), "cache-bytes 3GiB is not less than the memory") {
		t.Errorf("another one: %v", err)
	}
}

// A place of backups or of the archive is opened anew where something of it has changed, and then alone.
func TestPlacesInUseAreNoReasonToRefuseOthers(t *testing.T) {
	c := DefaultConfig()
	c.Backup.To, c.Archive.To = "s3://a/b", "s3://a/c"
	c.Backup.CredentialsFile = "/nowhere/at/all"
	if err := c.reachable([]difference{{key: "log-level"}}); err != nil {
		t.Errorf("refused: %v", err)
	}
	for _, key := range []string{"backup.to", "archive.to", "backup.every", "archive.every"} {
		if err := c.reachable([]difference{{key: "log-level"}, {key: key}}); err == nil {
			t.Errorf("%s: not refused", key)
		}
	}
}

// Where the environment limits the Go runtime, memory-bytes does not, and nothing is said of a part of it.
func TestTheEnvironmentLimitsTheRuntime(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		cache, limit, warn string
		runtime            uint64
	}{
		{"256MiB", "512MiB", "are more than three quarters of memory-bytes, 512MiB", 0},
		{"256MiB", "512MiB", "are more than GOMEMLIMIT in the environment, 400.0MiB", 400 * mib},
		{"256MiB", "512MiB", "are more than memory-bytes, 512MiB", 1 << 62},
		{"192MiB", "768MiB", "", 1 << 62},
	} {
		c, err := loadText(t, goodFile+"memory-bytes: "+test.limit+"\ncache-bytes: "+test.cache+
			"\ncount-bytes: 64MiB\nmem-table-bytes: 64MiB\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		warnings, err := c.fit(machine{limit: test.runtime})
		said := strings.Join(warnings, "; ")
		if err != nil || test.warn == "" && said != "" || !strings.Contains(said, test.warn) {
			t.Errorf("limit %d: %q, %v; want %q", test.runtime, said, err, test.warn)
		}
	}
}
