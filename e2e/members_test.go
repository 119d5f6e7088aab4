package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/localfleet"
)

// removal takes a node out of its region and starts it again, which it must refuse. A new one comes in its place.
type removal struct{ disk }

func (m *removal) strike(ctx context.Context, c *campaign) (string, error) {
	if err := m.draw(ctx, c); err != nil {
		return "", err
	}
	if err := c.remove(ctx, m.n); err != nil {
		return "", err
	}
	const words = "removed from the region"
	err := m.ended(ctx, c, statusRemoved, words)
	return fmt.Sprintf("%v was removed, and replaced", m), errors.Join(err, m.refused(ctx, c, statusRemoved, words))
}

func (m *removal) mend(ctx context.Context, c *campaign) error { return c.admit(ctx, m.n) }

// statusRemoved is that of a node that is no member any more.
const statusRemoved = 3

// sibling returns another node of the region of n.
func (c *campaign) sibling(n *localfleet.Node) *localfleet.Node {
	nodes := c.fleet.Region(n.Config.Region).Nodes
	return nodes[(slices.Index(nodes, n)+1)%len(nodes)]
}

// memberID returns the id of a member of the region of a node, 0 if there is none of that name.
func memberID(ctx context.Context, at *localfleet.Node, name string) (uint64, error) {
	client, err := connect(at.Config.ListenClient)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	list, err := client.MemberList(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range list.Members {
		if m.Name == name {
			return m.ID, nil
		}
	}
	return 0, nil
}

// remove takes a node out of its region, if it is in it.
func (c *campaign) remove(ctx context.Context, n *localfleet.Node) error {
	at := c.sibling(n)
	client, err := connect(at.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	return c.await(ctx, n.Config.Name+" is no member", func(ctx context.Context) string {
		id, err := memberID(ctx, at, n.Config.Name)
		if err == nil && id != 0 {
			_, err = client.MemberRemove(ctx, id)
			if err == nil {
				id = 0
			}
		}
		if err != nil {
			return err.Error()
		}
		if id != 0 {
			return "it is"
		}
		return ""
	})
}

// admit lets a new node join in the place of one that was removed, and makes it a voter.
func (c *campaign) admit(ctx context.Context, old *localfleet.Node) error {
	at := c.sibling(old)
	client, err := connect(at.Config.ListenClient)
	if err != nil {
		return err
	}
	defer client.Close()
	n, err := c.fleet.Replace(old)
	if err != nil {
		return err
	}
	c.former = append(c.former, old)
	peer := "http://" + n.Config.Name + "@" + n.Config.ListenPeer
	err = c.await(ctx, n.Config.Name+" is added", func(ctx context.Context) string {
		id, err := memberID(ctx, at, n.Config.Name)
		if err == nil && id == 0 {
			_, err = client.MemberAddAsLearner(ctx, []string{peer})
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		return err
	}
	if err := n.Start(); err != nil {
		return err
	}
	err = c.await(ctx, n.Config.Name+" is promoted", func(ctx context.Context) string {
		id, err := memberID(ctx, at, n.Config.Name)
		if err == nil {
			_, err = client.MemberPromote(ctx, id)
		}
		if err != nil && !strings.Contains(err.Error(), "not a learner") {
			return err.Error()
		}
		return ""
	})
	n.Config.Join = false
	return errors.Join(err, c.fleet.Region(n.Config.Region).Save())
}
