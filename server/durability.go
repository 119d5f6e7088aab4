package server

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/etcdapi"
)

// Durability says in which regions writes of clients have to be durable, each as [etcdapi.ParseDurability] reads it.
type Durability struct {
	Default  string
	Prefixes map[string]string
	Timeout  time.Duration
}

// rules returns what is written.
func (d Durability) rules() (r etcdapi.DurabilityRules, err error) {
	r.Timeout = d.Timeout
	if r.Default, err = etcdapi.ParseDurability(d.Default); err != nil {
		return r, fmt.Errorf("durability.default: %w", err)
	}
	r.Prefixes = make(map[string]etcdapi.Durability, len(d.Prefixes))
	for _, prefix := range slices.Sorted(maps.Keys(d.Prefixes)) {
		if prefix == "" {
			return r, fmt.Errorf("durability.prefixes: all keys begin with the empty prefix: durability.default " +
				"is for them")
		}
		if r.Prefixes[prefix], err = etcdapi.ParseDurability(d.Prefixes[prefix]); err != nil {
			return r, fmt.Errorf("durability.prefixes: %q: %w", prefix, err)
		}
	}
	return r, nil
}

// limits returns what bounds clients.
func (c *Config) limits() etcdapi.Limits {
	l := c.Limits
	l.Durability, _ = c.Durability.rules() // validated
	return l
}

// parsePrefixes reads PREFIX=DURABILITY,PREFIX=DURABILITY. A prefix may have = in it.
func parsePrefixes(s string) (map[string]string, error) {
	all := map[string]string{}
	for _, pair := range splitNames(s) {
		cut := strings.LastIndex(pair, "=")
		if before := strings.TrimSuffix(pair[:max(cut, 0)], "=regions"); cut > 0 && len(before) < cut {
			cut = len(before)
		}
		if cut <= 0 {
			return nil, fmt.Errorf("%q: want PREFIX=DURABILITY, as /payments/=regions=1", pair)
		}
		if _, twice := all[pair[:cut]]; twice {
			return nil, fmt.Errorf("%q: the prefix has another durability already", pair)
		}
		all[pair[:cut]] = pair[cut+1:]
	}
	return all, nil
}
