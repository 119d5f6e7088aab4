package server

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/autocompact"
	"github.com/mimir-kv/mimir/server/door"
)

// settled is what of the settings can change while the node runs. It is safe for concurrent use.
type settled struct {
	logs     *logs
	quota    atomic.Int64 // bytes
	shutdown atomic.Int64 // a time.Duration
	policy   atomic.Pointer[autocompact.Policy]
	caps     atomic.Pointer[caps]
	gate     atomic.Pointer[replication.LagGate]
	hosts    atomic.Pointer[[]string] // allowed-hosts
	replaced chan struct{}            // the policy is another one

	mu      sync.Mutex
	running Config // what holds now, as settings
}

func newSettled(c *Config, l *logs) *settled {
	now := &settled{logs: l, replaced: make(chan struct{}, 1), running: *c}
	now.quota.Store(c.QuotaBytes)
	now.shutdown.Store(int64(c.ShutdownTimeout))
	policy, _ := c.Compaction.policy() // validated
	now.policy.Store(&policy)
	now.capBy(c)
	now.gate.Store(c.LagGate.limits())
	now.hosts.Store(&c.AllowedHosts)
	return now
}

// change is what makes some settings hold in a node that runs, once for all of them. It is given what holds now.
type change struct {
	keys  []string
	apply func(*server, *Config)
}

// changes are all of them, in order. All other settings need a restart.
var changes = []change{
	{[]string{"log-level", "log-format"},
		func(s *server, c *Config) { s.settled.logs.set(c.LogLevel, c.LogFormat) }}, //nolint:errcheck // validated
	{[]string{"log-outputs"}, replaceLog},
	{[]string{"allowed-hosts"}, func(s *server, c *Config) { s.settled.hosts.Store(&c.AllowedHosts) }},
	{[]string{"quota-backend-bytes"}, func(s *server, c *Config) { s.settled.quota.Store(c.QuotaBytes) }},
	{[]string{"auto-compaction-mode", "auto-compaction-retention"},
		func(s *server, c *Config) { s.settled.compactBy(c) }},
	{[]string{"region-rate.copy", "region-rate.stream"}, func(s *server, c *Config) { s.settled.capBy(c) }},
	{[]string{"lag-gate.regions", "lag-gate.delay-bytes", "lag-gate.delay-time", "lag-gate.refuse-bytes",
		"lag-gate.refuse-time"}, func(s *server, c *Config) { s.settled.gate.Store(c.LagGate.limits()) }},
	{[]string{"warning-unary-request-duration"},
		func(s *server, c *Config) { s.slow.bound.Store(int64(c.SlowRequest)) }},
	{[]string{"shutdown-timeout"}, func(s *server, c *Config) { s.settled.shutdown.Store(int64(c.ShutdownTimeout)) }},
	{[]string{"max-request-bytes", "max-txn-ops", "max-effect-bytes", "max-answer-bytes", "max-concurrent-streams",
		"max-watches", "request-timeout", "max-staleness", "watch-progress-interval", "leader-timeout",
		"durability.default", "durability.prefixes", "durability.timeout", "durability.bytes"},
		func(s *server, c *Config) { s.api.SetLimits(c.limits()) }},
	{[]string{"max-request-bytes", "max-concurrent-streams"}, func(s *server, _ *Config) { s.rpc.renew() }},
	{[]string{"max-connections"}, boundConnections},
	{[]string{"crowds"}, func(s *server, c *Config) {
		for _, d := range s.ports.doors {
			d.Crowds(c.crowds())
		}
	}},
	{[]string{"backup.to", "backup.region", "backup.every", "backup.keep", "backup.keep-for",
		"backup.credentials-file", "backup.ca-file", "archive.to", "archive.prune"}, replaceBackups},
	{[]string{"archive.to", "archive.region", "archive.every", "backup.credentials-file", "backup.ca-file"},
		replaceArchiver},
}

// canChange reports whether a setting needs no restart.
func canChange(key string) bool {
	return slices.ContainsFunc(changes, func(c change) bool { return slices.Contains(c.keys, key) })
}

func (l *settled) compactBy(c *Config) {
	policy, _ := c.Compaction.policy() // validated
	l.policy.Store(&policy)
	select {
	case l.replaced <- struct{}{}:
	default:
	}
}

func (l *settled) capBy(c *Config) {
	caps, _ := c.RegionRate.caps() // validated
	l.caps.Store(caps)
}

// regionRate returns what goes to another region at most.
func (l *settled) regionRate(region string, now time.Time) replication.RegionRate {
	return l.caps.Load().at(region, now)
}

// lagGate returns how far other regions may be behind.
func (l *settled) lagGate() replication.LagGate { return *l.gate.Load() }

// shutdownTimeout bounds a stop in good order.
func (l *settled) shutdownTimeout() time.Duration { return time.Duration(l.shutdown.Load()) }

// now returns what holds.
func (l *settled) now() Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// reload makes hold what can of the configuration as it is now, and tells the log what changed, and what needs a
// restart. With an error nothing changes.
func (s *server) reload(read func() (*Config, error)) error {
	next, err := read()
	if err != nil {
		return err
	}
	here := thisMachine(next.Replication.DataDir)
	runs := s.settled.now()
	warnings, err := next.fitBeside(&runs, here)
	if err != nil {
		return err
	}
	if _, err := door.Split(s.shares.Limit, next.MaxConnections); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s.settled.mu.Lock()
	defer s.settled.mu.Unlock()
	now := s.settled.running
	changed, waits := merge(&now, next)
	if err := now.reachable(changed); err != nil {
		return err
	}
	for _, d := range waits {
		s.logger.Warn("a setting is another one, and needs a restart", "setting", d.key, "running", d.from,
			"read", d.to)
	}
	for _, text := range now.tight(here) { // of what waits for a restart it has the one that runs
		if !slices.Contains(warnings, text) {
			warnings = append(warnings, text)
		}
	}
	tellSettings(s.logger, nil, warnings)
	s.settled.running = now
	for _, c := range changes {
		if slices.ContainsFunc(changed, func(d difference) bool { return slices.Contains(c.keys, d.key) }) {
			c.apply(s, &now)
		}
	}
	for _, d := range changed {
		s.logger.Info("a setting has changed", "setting", d.key, "from", d.from, "to", d.to)
	}
	s.settled.tellIdle(s.replicator.Health(), s.logger)
	s.logger.Info("settings read anew", "changed", len(changed), "waitForRestart", len(waits))
	return nil
}

// difference is a setting that is not what it was.
type difference struct{ key, from, to string }

// merge sets what of next can change in a configuration that holds. What would not fit what needs a restart waits for
// that too, and so does what follows from another memory-bytes.
func merge(now, next *Config) (changed, waits []difference) {
	next.shareMemory(now.MemoryBytes)
	for i := range settings {
		d := difference{settings[i].key, settings[i].get(now), settings[i].get(next)}
		switch {
		case d.from == d.to:
		case canChange(d.key):
			changed = append(changed, d)
			settings[i].copy(now, next)
			now.from(d.key, cmp.Or(next.origins[d.key], byDefault))
		default:
			waits = append(waits, d)
		}
	}
	for _, pair := range ascending {
		low, high := find(pair[0]), find(pair[1])
		if low.number(now) <= high.number(now) {
			continue
		}
		for i, d := range changed { // the other one, if it has changed, comes back by the next pair
			if d.key == low.key {
				low.set(now, d.from) //nolint:errcheck // it was so
				now.from(d.key, "as it was before the settings were read anew")
				changed, waits = slices.Delete(changed, i, i+1), append(waits, d)
				break
			}
		}
	}
	return changed, waits
}

// find returns the setting of a key.
func find(key string) *setting {
	return &settings[slices.IndexFunc(settings, func(s setting) bool { return s.key == key })]
}

// reachable opens the places of the log, of backups and of the archive where what has changed has them opened anew, as
// far as that can fail on this machine.
func (c *Config) reachable(changed []difference) error {
	places := logFiles(c.LogOutputs)
	if !slices.ContainsFunc(changed, func(d difference) bool { return d.key == "log-outputs" }) {
		places = nil // what becomes of the one in use keeps no other setting from being read
	}
	for _, path := range places {
		_, err := waitFor(path, func() (struct{}, error) {
			return struct{}{}, appendable("log-outputs", path)
		}, func(struct{}) {})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	for _, p := range []struct{ key, to string }{{"backup.to", c.Backup.To}, {"archive.to", c.Archive.To}} {
		if p.to == "" || !opensAnew(p.key, changed) {
			continue // what becomes of the one in use keeps no other setting from being read
		}
		if _, err := c.Backup.open(p.key, p.to); err != nil {
			return err
		}
	}
	return nil
}

// opensAnew reports whether something has changed that is made to hold together with a setting.
func opensAnew(key string, changed []difference) bool {
	return slices.ContainsFunc(changes, func(c change) bool {
		return slices.Contains(c.keys, key) && slices.ContainsFunc(changed, func(d difference) bool {
			return slices.Contains(c.keys, d.key)
		})
	})
}

// boundConnections bounds those of clients. What the tables of the store have stays.
func boundConnections(s *server, c *Config) {
	shares, err := door.Split(s.shares.Limit, c.MaxConnections)
	if err != nil {
		s.logger.Error("max-connections stays as it is", "err", err)
		return
	}
	s.ports.doors[0].Bound(shares.Clients, door.StrangersOf(shares.Clients))
}

// byOrder is where a setting comes from that an operator set, until the settings are read anew.
const byOrder = "an order (mimir log)"

// writeLog sets how the log is written, until a restart or until the settings are read anew; what is empty stays.
func (s *server) writeLog(to admin.Log) (admin.Log, error) {
	s.settled.mu.Lock()
	defer s.settled.mu.Unlock()
	err := s.settled.logs.set(to.Level, to.Format)
	level, format := s.settled.logs.now()
	if now := (admin.Log{Level: level, Format: format}); err != nil || to == (admin.Log{}) {
		return now, err
	}
	s.settled.running.LogLevel, s.settled.running.LogFormat = level, format
	s.settled.running.from("log-level", byOrder)
	s.settled.running.from("log-format", byOrder)
	s.logger.Info("an operator set the log", "level", level, "format", format)
	return admin.Log{Level: level, Format: format}, nil
}
