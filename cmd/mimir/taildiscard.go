package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server/admin"
)

func newTailDiscard(n *connection) *cobra.Command {
	yes, reachable := false, false
	c := &cobra.Command{
		Use:   "discard NAME",
		Short: "Delete a tail on all nodes that have it, for good",
		Long: "Delete the rescue file of a tail, and the state beside it, on all nodes. It asks before it does, and\n" +
			"does nothing while a node that may have it does not answer.",
		Args: oneArgument("the name of a tail"),
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, arguments []string) error {
			return n.discard(c, client, arguments[0], yes, reachable)
		}),
	}
	n.addFlags(c)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&reachable, "reachable-only", false, "leave it on the nodes that do not answer")
	return c
}

// discarded is what became of a tail.
type discarded struct {
	Name      string   `json:"name"`
	Discarded []string `json:"discarded"`          // nodes that had it
	NotAsked  []string `json:"notAsked,omitempty"` // nodes that may still have it
}

func (n *connection) discard(c *cobra.Command, client *admin.Client, name string, yes, reachable bool) error {
	all, silent, err := tails(c.Context(), client)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(t storedTail) bool { return t.Name != name })
	silent, err = mayHave(c.Context(), client, all, silent)
	if err != nil {
		return err
	}
	switch {
	case len(all) == 0 && len(silent) > 0:
		return fmt.Errorf("no tail %q on any node that answers; not asked: %s", name, strings.Join(silent, ", "))
	case len(all) == 0:
		return fmt.Errorf("no tail %q on any node; see mimir tail list", name)
	case len(silent) > 0 && !reachable:
		return fmt.Errorf("nothing was discarded: these may have the tail, and do not answer: %s; "+
			"with --reachable-only it is discarded on the others", strings.Join(silent, ", "))
	}
	result := discarded{Name: name, Discarded: []string{}, NotAsked: silent}
	if !yes && !confirm(c, all) {
		return errors.New("nothing was discarded")
	}
	var failures []error
	for _, t := range all {
		if err := t.discard(c.Context(), client); err != nil {
			failures = append(failures, err)
		} else {
			result.Discarded = append(result.Discarded, t.Node)
		}
	}
	err = n.print(c.OutOrStdout(), result, func(w io.Writer) {
		if len(result.Discarded) > 0 {
			fmt.Fprintf(w, "discarded %s on %s\n", name, strings.Join(result.Discarded, ", "))
		}
		if len(silent) > 0 {
			fmt.Fprintf(w, "not asked, because they do not answer: %s; they may still have it\n",
				strings.Join(silent, ", "))
		}
	})
	return errors.Join(append(failures, err)...)
}

// discard deletes the file.
func (s *storedTail) discard(ctx context.Context, client *admin.Client) error {
	at, err := s.at(ctx, client)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := at.DiscardTail(ctx, s.Name); err != nil {
		return fmt.Errorf("%s: %w", s.Node, err)
	}
	return nil
}

// mayHave returns those who do not answer and may have a tail: only nodes of the region that lost it do.
func mayHave(
	ctx context.Context, client *admin.Client, copies []storedTail, silent []string,
) (may []string, err error) {
	region := ""
	for _, t := range copies {
		region = cmp.Or(region, t.Region) // that of a damaged one is not known
	}
	if len(silent) == 0 || region == "" {
		return silent, nil
	}
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	others := map[string]bool{}
	for _, r := range fleet.Regions {
		for _, node := range r.Nodes {
			others[node.Name] = others[node.Name] || r.Name != region
		}
		others["every node of region "+r.Name] = r.Name != region
	}
	return slices.DeleteFunc(slices.Clone(silent), func(text string) bool {
		name, _, _ := strings.Cut(text, inItsPlace)
		return others[name]
	}), nil
}

// confirm asks whether the copies of a tail are to be deleted.
func confirm(c *cobra.Command, copies []storedTail) bool {
	var nodes []string
	commands := uint64(0)
	for _, t := range copies {
		nodes = append(nodes, t.Node)
		commands = max(commands, t.Commands)
	}
	fmt.Fprintf(c.ErrOrStderr(), "Delete %s, with %d commands, on %s? It cannot be brought back. [y/N] ",
		copies[0].Name, commands, strings.Join(nodes, ", "))
	answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
