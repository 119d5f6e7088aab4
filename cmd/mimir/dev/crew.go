package dev

import (
	"context"
	"fmt"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
)

// crew is the processes and links of a fleet while it runs. It is for one goroutine.
type crew struct {
	dir    string
	called string // how mimir is called, for commands to copy
	fleet  *localfleet.Fleet
	all    []*localfleet.Node // the witness among them
	ended  chan *localfleet.Node
	life   context.Context // of those who wait for the end of a node

	broken map[*localfleet.Node]bool // killed by an order, until it is started again
	cut    map[[2]string]bool        // links that an order has cut
}

func newCrew(life context.Context, dir, called string, f *localfleet.Fleet) *crew {
	c := &crew{
		dir: dir, called: called, fleet: f, all: f.Nodes(), ended: make(chan *localfleet.Node), life: life,
		broken: map[*localfleet.Node]bool{}, cut: map[[2]string]bool{},
	}
	if f.Witness != nil {
		c.all = append(c.all, f.Witness)
	}
	return c
}

// start starts a node, whose end is then told to ended.
func (c *crew) start(n *localfleet.Node) error {
	if err := n.Start(); err != nil {
		return err
	}
	delete(c.broken, n)
	gone := n.Ended()
	go func() {
		select {
		case <-gone:
		case <-c.life.Done():
			return
		}
		select {
		case c.ended <- n:
		case <-c.life.Done():
		}
	}()
	return nil
}

func (c *crew) startAll() error {
	for _, n := range c.all {
		if err := c.start(n); err != nil {
			return err
		}
	}
	return nil
}

// obituary says that a node ended, with its own last words, and how to have it back; "" if it was told to, or runs
// again.
func (c *crew) obituary(n *localfleet.Node) string {
	if c.broken[n] || n.Running() {
		return ""
	}
	return fmt.Sprintf("%s\n  to start it again: %s dev heal node %s --data-dir %s, or by hand: %s", lastWords(n),
		c.called, n.Config.Name, c.dir, strings.Join(n.CommandLine(), " "))
}

func lastWords(n *localfleet.Node) string {
	text := fmt.Sprintf("%s (pid %d) ended: %s", n.Config.Name, n.PID(), n.Exit())
	if last := n.LastWords(); last != "" {
		text += "; its last words: " + last
	}
	return text
}

func (c *crew) describe() *Fleet { return Describe(c.fleet) }
