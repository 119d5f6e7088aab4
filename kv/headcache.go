package kv

// headCache remembers the newest version of the keys that were written last, without the value, so that a put need not
// search for the version it replaces. It holds up to twice headCacheKeys keys. It belongs to the goroutine that applies.
type headCache struct {
	young, old map[string]version
}

const headCacheKeys = 1 << 17

func (c *headCache) get(key []byte) (version, bool) {
	if v, ok := c.young[string(key)]; ok {
		return v, true
	}
	v, ok := c.old[string(key)]
	return v, ok
}

func (c *headCache) put(key string, v version) {
	if c.young == nil || len(c.young) >= headCacheKeys {
		c.old, c.young = c.young, map[string]version{}
	}
	v.value = nil
	c.young[key] = v
}

func (c *headCache) clear() { c.young, c.old = nil, nil }
