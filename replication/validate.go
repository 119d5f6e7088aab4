package replication

import (
	"fmt"
	"maps"
	"slices"
)

// Validate reports whether a node can be made of c, fields left out standing for their defaults. It touches nothing outside c. The error is
// ErrConfig and names the values that it refuses.
func (c *Config) Validate() error {
	if c == nil {
		return fmt.Errorf("%w: none given", ErrConfig)
	}
	full := c.withDefaults()
	for _, check := range []func(*Config) string{identityFault, nodesFault, regionsFault, sizesFault, timesFault} {
		if fault := check(&full); fault != "" {
			return fmt.Errorf("%w: %s", ErrConfig, fault)
		}
	}
	return nil
}

func identityFault(c *Config) string {
	if c.NodeID == "" || c.RegionID == "" || c.DataDir == "" || c.PeerAddr == "" {
		return fmt.Sprintf("NodeID %q, RegionID %q, DataDir %q and PeerAddr %q are required",
			c.NodeID, c.RegionID, c.DataDir, c.PeerAddr)
	}
	return ""
}

func nodesFault(c *Config) string {
	own, listed := c.Nodes[c.NodeID]
	switch {
	case !c.Join && !listed:
		return fmt.Sprintf("node %q is not among the nodes of region %q, %v", c.NodeID, c.RegionID, slices.Sorted(maps.Keys(c.Nodes)))
	case listed && own != c.PeerAddr:
		return fmt.Sprintf("Nodes has %q for node %q, whose PeerAddr is %q", own, c.NodeID, c.PeerAddr)
	case !c.Join && (len(c.Nodes)%2 == 0 || len(c.Nodes) > 7):
		return fmt.Sprintf("a region is formed by 1, 3, 5 or 7 voters, Nodes has %d; "+
			"a node of a region that was formed otherwise goes on with Join", len(c.Nodes))
	}
	return addressFault("node", c.Nodes)
}

// addressFault finds a name or an address that is empty, and an address that two nodes share.
func addressFault(what string, nodes map[string]string) string {
	holders := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(nodes)) {
		addr := nodes[name]
		if name == "" || addr == "" {
			return fmt.Sprintf("%s %q has the address %q", what, name, addr)
		}
		if other, taken := holders[addr]; taken {
			return fmt.Sprintf("%ss %q and %q have one address, %q", what, other, name, addr)
		}
		holders[addr] = name
	}
	return ""
}

func regionsFault(c *Config) string {
	if _, twice := c.Regions[c.RegionID]; twice {
		return fmt.Sprintf("region %q is this one, and among the others", c.RegionID)
	}
	if _, known := c.Regions[c.InitialPrimary]; !known && c.InitialPrimary != c.RegionID {
		return fmt.Sprintf("initial primary %q is not a region; known are %q and %q",
			c.InitialPrimary, c.RegionID, slices.Sorted(maps.Keys(c.Regions)))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Regions)) {
		if addrs := c.Regions[name]; name == "" || len(addrs) == 0 || slices.Contains(addrs, "") {
			return fmt.Sprintf("region %q has the addresses %q", name, addrs)
		}
	}
	return ""
}

func sizesFault(c *Config) string {
	for _, f := range []struct {
		name  string
		value int64
		least int64
		most  int64 // zero: no bound
	}{
		{"SegmentBytes", c.SegmentBytes, MinSegmentBytes, MaxSegmentBytes},
		{"RetainBytes", c.RetainBytes, 1, 0},
		{"CompactBytes", c.CompactBytes, 1, 0},
		{"MaxFrameBytes", int64(c.MaxFrameBytes), 1, FrameBytesLimit},
		{"MaxCommandBytes", int64(c.MaxCommandBytes), 1, CommandBytesLimit},
		{"MaxInflightBytes", c.MaxInflightBytes, 1, 0},
		{"StreamWindowBytes", c.StreamWindowBytes, 1, 0},
	} {
		if f.value < f.least {
			return fmt.Sprintf("%s is %d, at least %d is needed", f.name, f.value, f.least)
		}
		if f.most != 0 && f.value > f.most {
			return fmt.Sprintf("%s is %d, at most %d is possible", f.name, f.value, f.most)
		}
	}
	if c.MaxInflightBytes < int64(c.MaxFrameBytes) {
		return fmt.Sprintf("MaxInflightBytes %d is less than MaxFrameBytes %d", c.MaxInflightBytes, c.MaxFrameBytes)
	}
	return ""
}

func timesFault(c *Config) string {
	if c.TickInterval <= 0 || c.ElectionTicks < MinElectionTicks {
		return fmt.Sprintf("TickInterval %v must be positive, ElectionTicks %d at least %d",
			c.TickInterval, c.ElectionTicks, MinElectionTicks)
	}
	return ""
}
