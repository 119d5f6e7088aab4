package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

func newNode(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "node",
		Short: "Mend single nodes",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newNodeRebuild(n))
	return c
}

func newNodeRebuild(n *connection) *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use:   "rebuild NAME",
		Short: "Have a node take the state of a sibling, and keep what it held aside",
		Long: "Have a node that holds something else than its region take the state of another node of the region.\n" +
			"What it held is kept on that node, in a directory that is printed. It is for you to decide that\n" +
			"the node is wrong: mimir verify says who holds the same as whom. The alarm about it is disarmed\n" +
			"afterwards. The node applies nothing meanwhile. It needs the operator's right.",
		Args:    oneArgument("the name of a node"),
		Example: "  mimir node rebuild us-2 --endpoints 10.1.0.1:2379",
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			return n.rebuild(c, client, arguments[0], yes)
		}),
	}
	n.addFlags(c)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (n *connection) rebuild(c *cobra.Command, client *admin.Client, name string, yes bool) error {
	node, err := findNode(c.Context(), client, name)
	if err != nil {
		return err
	}
	if !yes {
		fmt.Fprintf(c.ErrOrStderr(), "Have %s of region %s take the state of another node of its region? [y/N] ",
			node.Name, node.Region)
		answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errors.New("nothing was done")
		}
	}
	at, err := atNode(c.Context(), client, node)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer at.Close()
	fmt.Fprintf(c.ErrOrStderr(), "%s takes the state of another node; that goes on if you leave, and its log says "+
		"when it is done\n", name)
	done, err := at.Sums().Rebuild(c.Context())
	if err != nil {
		return err
	}
	return n.print(c.OutOrStdout(), done, func(w io.Writer) {
		fmt.Fprintf(w, "%s has the state of a sibling; what it held is in %s there\nnow compare: mimir verify\n",
			done.Node, done.Kept)
	})
}

// findNode finds a node of the fleet by its name.
func findNode(ctx context.Context, client *admin.Client, name string) (*replication.NodeStatus, error) {
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	for _, r := range fleet.Regions {
		for _, node := range r.Nodes {
			if node.Name != name {
				known = append(known, node.Name)
				continue
			}
			if len(node.ClientURLs) == 0 {
				return nil, fmt.Errorf("%s did not say where it serves clients", name)
			}
			return &node, nil
		}
	}
	return nil, fmt.Errorf("no node %q is known; known are %s", name, strings.Join(known, ", "))
}
