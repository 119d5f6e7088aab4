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
			"range of keys in which they differ, and who holds the same as whom. Leases, users and alarms are\n" +
			"compared too, at one position, unless there is a prefix. Who is so late that others have compacted\n" +
			"what he shows is compared with those who are as late. The exit status is 1 if nodes differ, or if not\n" +
			"all could be compared with each other. Nodes read everything that they hold once for it. It needs the\n" +
			"operator's right. Nodes of partial regions are not asked: they compare themselves, within their\n" +
			"prefixes, and mimir partial status says when they last did.",
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

// verifyTries is how often in a row a comparison goes on at the same key, because what was compared was compacted.
const verifyTries = 5

func (o *verifyOptions) run(c *cobra.Command, n *connection, client *admin.Client) error {
	whole := prefixRange(o.prefix)
	v := verification{client: client, told: c.ErrOrStderr(), began: time.Now(), whole: whole, rest: whole}
	err := v.run(c.Context())
	if err != nil && v.result.First == nil {
		return err
	}
	if err := v.runRest(c.Context(), o.prefix == ""); err != nil {
		return err
	}
	tellUncompared(c.Context(), client, c.ErrOrStderr())
	if err := n.print(c.OutOrStdout(), &v.result, func(w io.Writer) { printVerified(w, &v.result) }); err != nil {
		return err
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: nodes hold different things, first in %s; not all was compared: %w", errFleet,
			rangeText(v.result.First.Range), err)
	case v.result.First != nil:
		return fmt.Errorf("%w: nodes hold different things, first in %s", errFleet, rangeText(v.result.First.Range))
	}
	return restVerdict(&v.result)
}

// verification compares what nodes hold, in as many pieces as it takes: of each, all that can be read at a revision.
type verification struct {
	client *admin.Client
	told   io.Writer
	began  time.Time
	next   time.Time    // when progress is told
	whole  verify.Range // what is to be compared
	rest   verify.Range // what of it is still to be
	result verify.Result
}

func (v *verification) run(ctx context.Context) error {
	for tries := 0; ; tries++ {
		piece, err := v.compare(ctx)
		if piece != nil {
			v.result.Add(piece)
			if !bytes.Equal(piece.Reached, v.rest.From) {
				tries = 0
			}
			v.rest.From = piece.Reached
		}
		if !errors.Is(err, verify.ErrCompacted) || tries == verifyTries {
			return err
		}
		fmt.Fprintf(v.told, "history was compacted meanwhile: going on from key %q, at a later revision\n", v.rest.From)
	}
}

// compare asks who there is, and compares those who answer.
func (v *verification) compare(ctx context.Context) (*verify.Result, error) {
	fleet, err := v.client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	nodes, standings, missing := standingsOf(ctx, v.client, fleet)
	result, err := verify.Together(ctx, nodes, standings, verify.Options{Range: v.rest, Told: v.progress})
	if result != nil {
		result.Missing = append(missing, result.Missing...)
	}
	if errors.Is(err, verify.ErrAlone) {
		return nil, fmt.Errorf("%w%s", err, missingText(result.Missing))
	}
	return result, err
}

// progress tells it now and then.
func (v *verification) progress(r *verify.Result) {
	now := time.Now()
	if v.next.IsZero() {
		v.next = v.began.Add(2 * time.Second)
	}
	if now.Before(v.next) {
		return
	}
	v.next = now.Add(10 * time.Second)
	fmt.Fprintf(v.told, "compared at revision %d: %d keys, %s, %s\n", r.Revision, v.result.Keys+r.Keys,
		byteText(uint64(v.result.Bytes+r.Bytes)), now.Sub(v.began).Round(time.Second))
}

// standingsOf asks every node of the fleet how far it is. Those that do not say are missing, and those for whom another
// one answers, as behind one address for all.
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
			switch {
			case n.Expected: // a place, and no node yet
				continue
			case n.OtherLife:
				missing = append(missing, verify.Missing{Node: n.Name, Why: otherLifeText})
				continue
			}
			all.Go(func() {
				at := client.At(n.ClientURLs...)
				said, why := standingOf(ctx, at, &n)
				mu.Lock()
				defer mu.Unlock()
				if why != nil {
					missing = append(missing, verify.Missing{Node: n.Name, Why: why.Error()})
					return
				}
				nodes = append(nodes, verify.Node{Name: n.Name, Ask: at.Sums().Digest, Beside: at.Sums().Beside})
				standings = append(standings, said)
			})
		}
	}
	all.Wait()
	slices.SortFunc(nodes, func(a, b verify.Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(missing, func(a, b verify.Missing) int { return strings.Compare(a.Node, b.Node) })
	return nodes, standings, missing
}

// otherLifeText is why a node is not compared that formed its region anew by itself.
const otherLifeText = "it is of another life of its region, and at no revision it has to hold what others do: " +
	"mimir status says what to do"

// standingOf asks one of them.
func standingOf(ctx context.Context, at *admin.Client, n *replication.NodeStatus) (s verify.Standing, err error) {
	if len(n.ClientURLs) == 0 {
		return s, errors.New("it did not say where it serves clients")
	}
	said, err := at.Node(ctx)
	if err != nil {
		return s, err
	}
	if err := itself(said, n.Name); err != nil {
		return s, err
	}
	if said.Epoch == 0 { // else all others were compared as far as this, and no further
		return s, errors.New("it has nothing of the history yet")
	}
	return verify.Standing{
		Name: n.Name, Revision: int64(said.Revision), Compact: int64(said.CompactRevision),
		Position: uint64(said.Position),
	}, nil
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
	if r.Earlier > 0 {
		fmt.Fprintf(w, "the first of it from revision %d on: history was compacted meanwhile\n", r.Earlier)
	}
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
	printBeside(w, r.Beside)
	for _, apart := range r.Apart {
		fmt.Fprint(w, "among themselves: ")
		printVerified(w, apart)
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
