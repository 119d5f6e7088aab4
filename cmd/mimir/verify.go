package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/verify"
)

func newVerify(n *connection) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify",
		Short: "Compare what all nodes of all regions hold, while they run",
		Args:  noArguments,
		Long: "Compare what all nodes of all regions hold at one revision, the newest that all of them have: every\n" +
			"version of every key that can be read or watched there. Writes go on meanwhile. It tells the first\n" +
			"range of keys in which they differ, and who holds the same as whom. The exit status is 1 if they\n" +
			"differ, or if not all nodes could be compared. Leases, users and alarms are not compared. Nodes read\n" +
			"everything that they hold once for it. It needs the operator's right.",
		Example: "  mimir verify --endpoints 10.1.0.1:2379,10.2.0.1:2379\n  mimir verify --prefix /registry/ -o json",
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			return o.run(c, n, client)
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&o.prefix, "prefix", "", "compare only keys that begin so")
	return c
}

type verifyOptions struct{ prefix string }

// verifyTries is how often a comparison begins anew because somebody compacted what was compared.
const verifyTries = 5

func (o *verifyOptions) run(c *cobra.Command, n *connection, client *admin.Client) error {
	var result *verify.Result
	var err error
	for range verifyTries {
		if result, err = o.compare(c.Context(), client, c.ErrOrStderr()); !errors.Is(err, verify.ErrCompacted) {
			break
		}
		fmt.Fprintln(c.ErrOrStderr(), "history was compacted meanwhile: beginning anew")
	}
	if err != nil {
		return err
	}
	if err := n.print(c.OutOrStdout(), result, func(w io.Writer) { printVerified(w, result) }); err != nil {
		return err
	}
	switch {
	case result.First != nil:
		return fmt.Errorf("%w: nodes hold different things, first in %s", errFleet, rangeText(result.First.Range))
	case len(result.Missing) > 0:
		return fmt.Errorf("%w: not all nodes were compared", errFleet)
	}
	return nil
}

// compare asks who there is, and compares those who answer.
func (o *verifyOptions) compare(ctx context.Context, client *admin.Client, told io.Writer) (*verify.Result, error) {
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	nodes, standings, missing := standingsOf(ctx, client, fleet)
	revision, compact, behind := verify.Agree(standings)
	nodes = slices.DeleteFunc(nodes, func(n verify.Node) bool {
		return slices.ContainsFunc(behind, func(m verify.Missing) bool { return m.Node == n.Name })
	})
	missing = append(missing, behind...)
	if len(nodes) < 2 {
		return nil, fmt.Errorf("there are no two nodes to compare%s", missingText(missing))
	}
	options := verify.Options{Revision: revision, Compact: compact, Range: prefixRange(o.prefix)}
	next, began := time.Now().Add(2*time.Second), time.Now()
	options.Told = func(r *verify.Result) {
		if now := time.Now(); now.After(next) {
			next = now.Add(10 * time.Second)
			fmt.Fprintf(told, "%d nodes compared at revision %d: %d keys, %s, %s\n", len(nodes), revision, r.Keys,
				byteText(uint64(r.Bytes)), now.Sub(began).Round(time.Second))
		}
	}
	result, err := verify.Compare(ctx, nodes, options)
	if result != nil {
		result.Missing = append(missing, result.Missing...)
	}
	return result, err
}

// standingsOf asks every node of the fleet how far it is. Those that do not say are missing.
func standingsOf(ctx context.Context, client *admin.Client, fleet *replication.FleetStatus) (
	nodes []verify.Node, standings []verify.Standing, missing []verify.Missing,
) {
	ctx, cancel := context.WithTimeout(ctx, revisionTimeout)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, r := range fleet.Regions {
		if len(r.Nodes) == 0 {
			missing = append(missing, verify.Missing{Node: "region " + r.Name, Why: "no node of it is known"})
		}
		for _, n := range r.Nodes {
			all.Go(func() {
				at, why := client.At(n.ClientURLs...), errors.New("it did not say where it serves clients")
				var said *admin.Node
				if len(n.ClientURLs) > 0 {
					said, why = at.Node(ctx)
				}
				mu.Lock()
				defer mu.Unlock()
				if why != nil {
					missing = append(missing, verify.Missing{Node: n.Name, Why: why.Error()})
					return
				}
				nodes = append(nodes, verify.Node{Name: n.Name, Region: r.Name, Ask: at.Digest})
				standings = append(standings, verify.Standing{
					Name: n.Name, Revision: int64(said.Revision), Compact: int64(said.CompactRevision),
				})
			})
		}
	}
	all.Wait()
	slices.SortFunc(nodes, func(a, b verify.Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(missing, func(a, b verify.Missing) int { return strings.Compare(a.Node, b.Node) })
	return nodes, standings, missing
}

// prefixRange is the range of all keys that begin with prefix.
func prefixRange(prefix string) verify.Range {
	r := verify.Range{From: []byte(prefix)}
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			r.To = append([]byte(prefix[:i]), prefix[i]+1)
			break
		}
	}
	return r
}

func printVerified(w io.Writer, r *verify.Result) {
	what := "hold the same"
	if r.First != nil {
		what = fmt.Sprintf("DIFFER in %d of %d parts", r.Differing, r.Parts)
	}
	fmt.Fprintf(w, "%s %s at revision %d: %d keys, %d versions, %s\n", strings.Join(r.Nodes, ", "), what, r.Revision,
		r.Keys, r.Versions, byteText(uint64(r.Bytes)))
	if r.First != nil {
		fmt.Fprintf(w, "the first difference is in %s:\n", rangeText(r.First.Range))
		for _, g := range r.First.Groups {
			fmt.Fprintf(w, "  %s: %d keys, %d versions, sum %x\n", strings.Join(g.Nodes, ", "), g.Keys, g.Versions,
				g.Sum)
		}
	}
	for _, m := range r.Missing {
		fmt.Fprintf(w, "NOT COMPARED: %s: %s\n", m.Node, m.Why)
	}
}

func missingText(missing []verify.Missing) (text string) {
	for _, m := range missing {
		text += "; " + m.Node + ": " + m.Why
	}
	return text
}

// rangeText writes a range, or the one key that is in it.
func rangeText(r verify.Range) string {
	switch {
	case len(r.To) == 0:
		return fmt.Sprintf("the keys from %q on", r.From)
	case bytes.Equal(append(bytes.Clone(r.From), 0), r.To):
		return fmt.Sprintf("the key %q", r.From)
	}
	return fmt.Sprintf("the keys from %q up to before %q", r.From, r.To)
}
