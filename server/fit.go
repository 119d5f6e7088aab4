package server

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/mimir-kv/mimir/server/space"
)

// machine is what a node runs on, in bytes. Zero: not known.
type machine struct {
	disk, free uint64 // of the data directory
	memory     uint64
	limit      uint64 // of the Go runtime, where the environment sets it
}

// thisMachine measures. A data directory that is not there yet will be on the disk of what is above it.
func thisMachine(dir string) machine {
	m := machine{memory: space.Memory()}
	if os.Getenv("GOMEMLIMIT") != "" {
		m.limit = uint64(debug.SetMemoryLimit(-1)) // as the runtime has read it; that is math.MaxInt64 if it is off
	}
	total, free, err := measure(dir)
	if err == nil {
		m.disk, m.free = total, free
	}
	return m
}

// measure returns the size of the disk that dir is on, or will be, and how much of it is free.
func measure(dir string) (total, free uint64, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return 0, 0, err
	}
	for {
		total, free, err = space.Disk(dir)
		above := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || above == dir {
			return total, free, err
		}
		dir = above
	}
}

// leastQuota is what the files and the memory table of a store without keys may take.
const leastQuota = 16 << 20

// fit holds the limits against the machine. What cannot be there is refused; what may become right, since disks grow
// and files go, is a warning.
func (c *Config) fit(m machine) (warnings []string, err error) {
	if list := c.misfits(m); len(list) > 0 {
		return nil, list[0].refusal()
	}
	return c.tight(m), nil
}

// fitBeside is fit for settings that are read anew while a node runs: what it runs with already, and would not start
// with any more on what is left of the machine, is a warning, and keeps nothing else from being read.
func (c *Config) fitBeside(running *Config, m machine) (warnings []string, err error) {
	for _, one := range c.misfits(m) {
		if s := find(one.key); s.get(c) != s.get(running) {
			return nil, one.refusal()
		}
		warnings = append(warnings, one.why+"; the node runs with it, and would not start with it now")
	}
	return append(warnings, c.tight(m)...), nil
}

// misfit is a setting that the machine has no room for.
type misfit struct{ key, why string }

func (m *misfit) refusal() error { return fmt.Errorf("%w: %s", ErrConfig, m.why) }

// misfits returns what cannot be there.
func (c *Config) misfits(m machine) []misfit {
	return append(c.misfitsOfDisk(m), c.misfitsOfMemory(m)...)
}

// tight returns a warning of each limit that the machine has no room for, or that others leave none.
func (c *Config) tight(m machine) (warnings []string) {
	warn := func(wrong bool, format string, args ...any) {
		if wrong {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	warn(c.QuotaBytes > 0 && c.QuotaBytes < leastQuota, "quota-backend-bytes %s is less than a store may take that "+
		"has nothing in it: the fleet may take no writes from the beginning", Bytes(c.QuotaBytes))
	r := &c.Replication
	reserve, least := uint64(c.DiskReserveBytes), c.Store.MemTableBytes+uint64(r.SegmentBytes)
	if m.disk > 0 {
		warn(reserve > m.free, "disk-reserve-bytes %s is more than the %s that the disk has free: the fleet takes no "+
			"writes until there is room", Bytes(reserve), about(m.free))
		warn(c.QuotaBytes > 0 && uint64(c.QuotaBytes)+reserve > m.disk, "quota-backend-bytes %s is never reached: "+
			"the disk has %s in all", Bytes(c.QuotaBytes), about(m.disk))
		warn(uint64(r.RetainBytes) > m.disk, "retain-bytes %s is more than the disk has in all, %s: the log of a "+
			"region that stays away grows until writes end for want of room", Bytes(r.RetainBytes), about(m.disk))
		warn(uint64(r.CopyRetainBytes) > m.disk, "copy-retain-bytes %s is more than the disk has in all, %s",
			Bytes(r.CopyRetainBytes), about(m.disk))
	}
	warn(reserve > 0 && reserve < least, "disk-reserve-bytes %s is less than mem-table-bytes and segment-bytes "+
		"together, %s: on a full disk the node may not be able to start", Bytes(reserve), Bytes(least))
	c.tightMemory(m, warn)
	election := r.TickInterval * time.Duration(r.ElectionTicks)
	warn(c.Limits.RequestTimeout < 2*election, "request-timeout %s is less than twice tick-interval times "+
		"election-ticks, %s: no request outlives the loss of a leader", formatDuration(c.Limits.RequestTimeout),
		formatDuration(2*election))
	return warnings
}

// memTableBytes is the size of a memory table of the store. What is in one counts against the quota as long as it is
// there, whatever was deleted since: with tables as large as the quota an alarm could not be disarmed.
func (c *Config) memTableBytes() uint64 {
	const most, least = 16, 1 << 20 // of them in a quota
	if c.QuotaBytes <= 0 {
		return c.Store.MemTableBytes
	}
	return min(c.Store.MemTableBytes, max(uint64(c.QuotaBytes)/most, least))
}

func (c *Config) misfitsOfDisk(m machine) (list []misfit) {
	for _, f := range []struct {
		key   string
		bytes int64
		why   string
	}{
		{"disk-reserve-bytes", c.DiskReserveBytes, "so no write would ever be taken; 0 lets it follow the other sizes"},
		{"compact-bytes", c.Replication.CompactBytes, "so no log would ever be released"},
	} {
		if m.disk > 0 && uint64(f.bytes) >= m.disk {
			list = append(list, misfit{f.key, fmt.Sprintf("%s %s is not less than the disk of data-dir %s has in all, "+
				"%s, %s", f.key, Bytes(f.bytes), c.Replication.DataDir, about(m.disk), f.why)})
		}
	}
	return list
}

// misfitsOfMemory are sizes of which the memory cannot hold one. They name what an operator can write: the size, if he
// set it, or what it follows from.
func (c *Config) misfitsOfMemory(m machine) (list []misfit) {
	for _, key := range []string{"cache-bytes", "mem-table-bytes", "stream-window-bytes"} {
		n := uint64(find(key).number(c))
		if m.memory == 0 || n < m.memory {
			continue
		}
		what, less := fmt.Sprintf("%s %s", key, Bytes(n)), "write less"
		switch {
		case c.follows(key):
			what = fmt.Sprintf("memory-bytes %s has %s be %s, which", Bytes(c.MemoryBytes), key, Bytes(n))
		case c.preset(key) && isShare(key):
			what, less = what+", its default,", "set it, or memory-bytes, of which it is a part then"
		case c.preset(key):
			what, less = what+", its default,", "set it"
		}
		list = append(list, misfit{key, fmt.Sprintf("%s is not less than the memory that this process may have, %s: %s",
			what, about(m.memory), less)})
	}
	return list
}

// tightMemory warns of sizes that are together, or each, more than the memory or memory-bytes. Of what follows from
// memory-bytes that is told alone.
func (c *Config) tightMemory(m machine, warn func(wrong bool, format string, args ...any)) {
	memory, budget := m.memory, uint64(c.MemoryBytes)
	if memory == 0 {
		memory = math.MaxUint64
	}
	warn(budget > memory, "memory-bytes %s is more than the memory that this process may have, %s", Bytes(budget),
		about(memory))
	cache, table := uint64(c.Store.CacheBytes), c.memTableBytes()
	caches := fmt.Sprintf("cache-bytes %s, half as much beside it, two tables of mem-table-bytes %s and count-bytes %s",
		Bytes(cache), Bytes(table), Bytes(c.countBytes()))
	switch sum := cache + cache/2 + 2*table + uint64(c.countBytes()); {
	case c.follows("cache-bytes") && c.follows("mem-table-bytes") && c.follows("count-bytes"):
	case sum > memory:
		warn(true, "%s are more than the memory, %s", caches, about(memory))
	case budget > 0 && m.limit > 0 && m.limit < budget: // it rules instead of a part of memory-bytes
		warn(sum > m.limit, "%s are more than GOMEMLIMIT in the environment, %s: the node will not stay within it",
			caches, about(m.limit))
	case budget > 0 && m.limit > 0:
		warn(sum > budget, "%s are more than memory-bytes, %s: the node will not stay within it", caches, Bytes(budget))
	case budget > 0:
		warn(sum > uint64(c.MemoryLimit()), "%s are more than three quarters of memory-bytes, %s: the node will not "+
			"stay within it", caches, Bytes(budget))
	}
	for _, key := range []string{"max-answer-bytes", "max-effect-bytes", "durability.bytes", "stream-window-bytes",
		"peer-window-bytes"} {
		switch n := uint64(find(key).number(c)); {
		case c.follows(key):
		case n > memory:
			warn(true, "%s %s is more than the memory, %s", key, Bytes(n), about(memory))
		case budget > 0:
			warn(n > budget, "%s %s is more than memory-bytes, %s: the node will not stay within it where it comes "+
				"to that", key, Bytes(n), Bytes(budget))
		}
	}
}

// countBytes is the memory in which the store counts keys; 0 if it does not.
func (c *Config) countBytes() int64 {
	if c.CountedKeys <= 0 {
		return 0
	}
	return c.Store.CountBytes
}

// about writes a size for people.
func about(n uint64) string {
	for _, u := range byteUnits {
		if f := uint64(u.factor); n >= f && f > 1 {
			return fmt.Sprintf("%.1f%s", float64(n)/float64(f), u.suffix)
		}
	}
	return fmt.Sprint(n)
}
