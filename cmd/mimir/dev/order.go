package dev

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
)

// Kind is what an Order is about.
type Kind string

// Kinds of things that can be broken and healed.
const (
	KindNode   Kind = "node"   // a process: a node, or the witness
	KindRegion Kind = "region" // all nodes of one
	KindLink   Kind = "link"   // what lies between two regions: "us-eu"
	KindAll    Kind = ""       // everything that is broken; only to heal
)

// Order is something to be done to a fleet that runs.
type Order struct {
	Heal bool   `json:"heal"`
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// ErrOrder says that an order cannot be carried out as it is: it names nothing that is there.
var ErrOrder = errors.New("cannot be done")

// obey carries an order out, and says what was done. What is as it is wanted stays as it is.
func (c *crew) obey(o Order) (string, error) {
	if o.Kind == KindLink {
		return c.obeyLink(o)
	}
	nodes, err := c.named(o)
	if err != nil {
		return "", err
	}
	var done []string
	if !o.Heal {
		for _, n := range nodes {
			if n.Running() {
				c.broken[n] = true
				done = append(done, fmt.Sprintf("%s (pid %d)", n.Config.Name, n.PID()))
			}
		}
		localfleet.Kill(nodes)
		return said("killed", done, "nothing runs that could be killed"), nil
	}
	if o.Kind == KindAll {
		for _, pair := range c.pairs() {
			if c.cut[pair] {
				c.mend(pair)
				done = append(done, pair[0]+"-"+pair[1])
			}
		}
	}
	var failures []error
	for _, n := range nodes {
		if n.Running() {
			continue
		}
		if err := c.start(n); err != nil {
			failures = append(failures, err)
			continue
		}
		done = append(done, fmt.Sprintf("%s (pid %d)", n.Config.Name, n.PID()))
	}
	failures = append(failures, c.describe().save(c.dir))
	text := said("healed", done, "nothing is broken there")
	if err := errors.Join(failures...); err != nil {
		return "", fmt.Errorf("%s; but %w", text, err)
	}
	return text, nil
}

func said(what string, done []string, nothing string) string {
	if len(done) == 0 {
		return nothing
	}
	return what + " " + strings.Join(done, ", ")
}

// named returns the nodes that an order is about.
func (c *crew) named(o Order) ([]*localfleet.Node, error) {
	switch o.Kind {
	case KindAll:
		if o.Heal {
			return c.all, nil
		}
	case KindNode:
		for _, n := range c.all {
			if n.Config.Name == o.Name {
				return []*localfleet.Node{n}, nil
			}
		}
		var names []string
		for _, n := range c.all {
			names = append(names, n.Config.Name)
		}
		return nil, fmt.Errorf("%w: there is no node %q; there are %s", ErrOrder, o.Name, strings.Join(names, ", "))
	case KindRegion:
		for _, r := range c.fleet.Regions {
			if r.Name == o.Name {
				return r.Nodes, nil
			}
		}
		return nil, fmt.Errorf("%w: there is no region %q; there are %s", ErrOrder, o.Name,
			strings.Join(c.describe().names(), ", "))
	}
	return nil, fmt.Errorf("%w: %q is none of node, region and link", ErrOrder, o.Kind)
}

// pairs returns the pairs of regions, each once.
func (c *crew) pairs() [][2]string { return pairsOf(c.describe().names()) }

func pairsOf(names []string) (pairs [][2]string) {
	for i, a := range names {
		for _, b := range names[i+1:] {
			pairs = append(pairs, [2]string{a, b})
		}
	}
	return pairs
}

func (c *crew) obeyLink(o Order) (string, error) {
	var names []string
	for _, pair := range c.pairs() {
		name, back := pair[0]+"-"+pair[1], pair[1]+"-"+pair[0]
		names = append(names, name)
		if !slices.Contains([]string{name, back}, o.Name) {
			continue
		}
		switch {
		case c.cut[pair] != o.Heal:
			return "it is so already", nil
		case o.Heal:
			c.mend(pair)
			return "healed " + o.Name, nil
		}
		c.cut[pair] = true
		c.fleet.Cut(pair[0], pair[1])
		return "cut " + o.Name + ": connections stay open, and nothing gets through", nil
	}
	return "", fmt.Errorf("%w: there is no link %q; there are: %s", ErrOrder, o.Name, strings.Join(names, ", "))
}

// mend heals a link. What was on its way is lost, as it is when a route comes back after a while.
func (c *crew) mend(pair [2]string) {
	delete(c.cut, pair)
	c.fleet.Lose(pair[0], pair[1])
	c.fleet.Heal(pair[0], pair[1])
}
