package server

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/autocompact"
)

// settled is what of the settings can change while the node runs. It is safe for concurrent use.
type settled struct {
	logs     *logs
	quota    atomic.Int64 // bytes
	shutdown atomic.Int64 // a time.Duration
	policy   atomic.Pointer[autocompact.Policy]
	replaced chan struct{} // the policy is another one

	mu      sync.Mutex
	running Config // what holds now, as settings
}

func newSettled(c *Config, l *logs) *settled {
	now := &settled{logs: l, replaced: make(chan struct{}, 1), running: *c}
	now.quota.Store(c.QuotaBytes)
	now.shutdown.Store(int64(c.ShutdownTimeout))
	policy, _ := c.Compaction.policy() // validated
	now.policy.Store(&policy)
	return now
}

// changing has, by key, what makes a setting of a configuration hold in a node that runs. All others need a restart.
var changing = map[string]func(*server, *Config){
	"log-level":                      func(s *server, c *Config) { s.settled.logs.set(c.LogLevel, c.LogFormat) },
	"log-format":                     func(s *server, c *Config) { s.settled.logs.set(c.LogLevel, c.LogFormat) },
	"quota-backend-bytes":            func(s *server, c *Config) { s.settled.quota.Store(c.QuotaBytes) },
	"auto-compaction-mode":           func(s *server, c *Config) { s.settled.compactBy(c) },
	"auto-compaction-retention":      func(s *server, c *Config) { s.settled.compactBy(c) },
	"warning-unary-request-duration": func(s *server, c *Config) { s.slow.bound.Store(int64(c.SlowRequest)) },
	"shutdown-timeout":               func(s *server, c *Config) { s.settled.shutdown.Store(int64(c.ShutdownTimeout)) },
}

func (l *settled) compactBy(c *Config) {
	policy, _ := c.Compaction.policy() // validated
	l.policy.Store(&policy)
	select {
	case l.replaced <- struct{}{}:
	default:
	}
}

// shutdownTimeout bounds a stop in good order.
func (l *settled) shutdownTimeout() time.Duration { return time.Duration(l.shutdown.Load()) }

// reload makes hold what can of the configuration as it is now, and tells the log what changed, and what needs a
// restart. With an error nothing changes.
func (s *server) reload(read func() (*Config, error)) error {
	next, err := read()
	if err != nil {
		return err
	}
	if _, err := next.fit(thisMachine(next.Replication.DataDir)); err != nil {
		return err
	}
	s.settled.mu.Lock()
	defer s.settled.mu.Unlock()
	differs, waits := 0, 0
	for i := range settings {
		key := settings[i].key
		from, to := settings[i].get(&s.settled.running), settings[i].get(next)
		if from == to {
			continue
		}
		differs++
		apply, can := changing[key]
		if !can {
			waits++
			s.logger.Warn("a setting is another one, and needs a restart", "setting", key, "running", from, "read", to)
			continue
		}
		if err := settings[i].set(&s.settled.running, to); err != nil {
			return fmt.Errorf("%s %q: %w", key, to, err)
		}
		apply(s, next)
		s.logger.Info("a setting has changed", "setting", key, "from", from, "to", to)
	}
	s.logger.Info("settings read anew", "changed", differs-waits, "waitForRestart", waits)
	return nil
}

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
	s.logger.Info("an operator set the log", "level", level, "format", format)
	return admin.Log{Level: level, Format: format}, nil
}
