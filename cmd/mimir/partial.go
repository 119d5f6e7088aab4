package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/plain"
)

func newPartial(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "partial",
		Short: "Run, and ask, nodes of a region that follows only some key prefixes",
		Long: "A partial region follows only the keys with some prefixes: for data that must not leave where it is,\n" +
			"and for the edge. It is never primary, votes for nobody and counts for no durability. Which there are,\n" +
			"and what they may follow, is in partial-regions-file of the fleet's nodes.",
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPartialServe(), newPartialStatus(n))
	return c
}

func newPartialServe() *cobra.Command {
	var o server.PartialOptions
	c := &cobra.Command{
		Use:   "serve --region REGION --name NAME --prefix PREFIX --from ADDR,… --listen ADDR --data-dir DIR",
		Short: "Run a node of a partial region",
		Long: "Run a node of a partial region until SIGTERM or SIGINT. It follows a node of --from, another one\n" +
			"when that ends or knows nothing new, and holds the keys with the prefixes, alike in revision,\n" +
			"version and lease. Clients read and watch them there; what they write goes to the fleet. What is not\n" +
			"within the prefixes is refused. Each node of the region follows by itself, and has a directory of its\n" +
			"own; for other prefixes begin with an empty one.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(o.Listen); err != nil {
				return fmt.Errorf("%w: --listen: %w", errUsage, err)
			}
			o.TLS.Lenient = c.Flags().Changed("client-tls-require-client-cert") && !o.TLS.RequireClientCert
			o.TLS.RequireClientCert = o.TLS.RequireClientCert || o.TLS.CA != "" && !o.TLS.Lenient
			signal.Ignore(syscall.SIGPIPE) // of a log that nobody reads any more
			signal.Ignore(syscall.SIGHUP)  // what it reads of files it reads anew by itself
			var end func()
			o.Logger, end = server.NewLog(os.Stderr)
			defer end()
			o.Version = version()
			return server.RunPartial(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Region, "region", "", "the partial region that it is of, as partial-regions-file has it")
	f.StringVar(&o.Name, "name", "", "its name, unique in its region")
	f.StringVar(&o.Fleet, "fleet", replication.DefaultFleetID, "the fleet that it follows")
	f.StringArrayVar(&o.Prefixes, "prefix", nil, "a prefix of the keys that it follows; once for each")
	f.StringSliceVar(&o.From, "from", nil, "client addresses of nodes of full regions, the nearest first")
	f.StringVar(&o.SecretFile, "secret-file", "",
		"file whose first line is the secret of the region, as partial-regions-file of those nodes has it")
	f.StringVar(&o.SourceTLS.CA, "source-tls-ca", "", "authorities trusted to sign those nodes, PEM")
	f.StringVar(&o.SourceTLS.Cert, "source-tls-cert", "", "certificate that is shown to them, PEM: no user's")
	f.StringVar(&o.SourceTLS.Key, "source-tls-key", "", "the key of it, PEM")
	f.StringVar(&o.DataDir, "data-dir", "", "directory of what it holds")
	f.StringVar(&o.Listen, "listen", "", "where clients reach it, host:port")
	f.StringVar(&o.Advertise, "advertise", "", "where clients are told that they reach it; --listen if not set")
	f.StringVar(&o.ListenHTTP, "listen-http", "",
		"port for /metrics, /livez and /readyz beside --listen, plaintext; none if not set")
	f.StringVar(&o.TLS.Cert, "client-tls-cert", "", "certificate that clients are shown, PEM")
	f.StringVar(&o.TLS.Key, "client-tls-key", "", "the key of it, PEM")
	f.StringVar(&o.TLS.CA, "client-tls-ca", "", "authorities trusted to sign clients, PEM")
	f.BoolVar(&o.TLS.RequireClientCert, "client-tls-require-client-cert", false,
		"refuse clients without a certificate; with --client-tls-ca unless it is set to false")
	f.StringSliceVar(&o.Crowds, "crowds", nil,
		"networks (10.0.0.0/8) and addresses behind each of which there may be many clients, as behind NAT")
	f.StringVar(&o.EncryptionKeyFile, "encryption-key-file", "",
		"keys of its directory, one a line, the active one first")
	f.Int64Var(&o.CacheBytes, "cache-bytes", 64<<20, "memory for hot blocks, in bytes")
	f.DurationVar(&o.CompareEvery, "compare-every", time.Hour,
		"how often what it holds is compared with its source by sums; 0: after a copy alone")
	for _, name := range []string{"region", "name", "prefix", "from", "secret-file", "listen", "data-dir"} {
		c.MarkFlagRequired(name)
	}
	return c
}

func newPartialStatus(n *connection) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how a node of a partial region is",
		Args:  noArguments,
		Long: "Show how a node of a partial region is, as the first endpoint says that answers: name one at a time.\n" +
			"The exit status is 1 if it may not show what it holds, or if nobody answers.",
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			s, err := admin.PartialStanding(c.Context(), client)
			if err != nil {
				return err
			}
			err = n.print(c.OutOrStdout(), s, func(w io.Writer) { printStanding(w, s) })
			if err == nil && !s.Shows {
				err = fmt.Errorf("%w: %s shows nothing: %s", errFleet, s.Node, s.Problem)
			}
			return err
		}),
	}
	n.addFlags(c)
	return c
}

// printStanding says how a node of a partial region is.
func printStanding(w io.Writer, s *partial.Standing) {
	fmt.Fprintf(w, "%s of partial region %s of fleet %s: follows only %s; never primary\n", s.Node, s.Region, s.Fleet,
		strings.Join(s.Prefixes, ", "))
	switch {
	case s.Copying:
		fmt.Fprintf(w, "takes a copy from %s in %s: %d keys so far\n", s.Source, s.SourceRegion, s.CopiedKeys)
	case s.Source != "":
		fmt.Fprintf(w, "follows %s in %s, at %s\n", s.Source, s.SourceRegion, s.Endpoint)
	default:
		fmt.Fprintf(w, "follows nobody: %s\n", s.Problem)
	}
	shows := "shows"
	if !s.Shows {
		shows = "shows nothing yet, and has"
	}
	fmt.Fprintf(w, "%s revision %d, lag %s\n", shows, s.Revision, secondsText(s.LagSeconds))
	if s.Auth {
		fmt.Fprintln(w, "the fleet is asked before each read, since it has users")
	}
	switch {
	case s.Compared.IsZero():
		fmt.Fprintln(w, "not compared with its source yet")
	default:
		fmt.Fprintf(w, "equal to its source at revision %d, %d keys, at %s\n", s.ComparedAt, s.ComparedKeys,
			clockText(s.Compared))
	}
	if s.Differed > 0 {
		fmt.Fprintf(w, "sums differed %d times since it started\n", s.Differed)
	}
}

// secondsText is a lag for people; negative is not known.
func secondsText(seconds float64) string {
	if seconds < 0 {
		return unknown
	}
	return fmt.Sprintf("%.2f s", seconds)
}

// partialReport is a partial region as the nodes that answered know it.
type partialReport struct {
	Name     string            `json:"name"`
	Prefixes []string          `json:"prefixes"`
	Nodes    []partialFollower `json:"nodes,omitempty"`
}

// partialFollower is one of its nodes, and whom it follows.
type partialFollower struct {
	partial.Following
	Source string `json:"source"`
	Region string `json:"region"`
}

// tellPartial tells which partial regions there are, who of them follows whom, and warns where nodes do not agree on
// what they may follow.
func (f *fleetReport) tellPartial() {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if len(n.partial) > 0 && n.partial[0].Problem != "" {
				f.Warnings = append(f.Warnings, fmt.Sprintf("%s goes on with partial regions of before, since "+
					"partial-regions-file cannot be read: %s", n.name, n.partial[0].Problem))
			}
			for i := range n.partial {
				f.addPartial(r.Name, n.name, &n.partial[i])
			}
		}
	}
}

func (f *fleetReport) addPartial(region, node string, p *partial.Report) {
	var known *partialReport
	for i := range f.Partial {
		if f.Partial[i].Name == p.Name {
			known = &f.Partial[i]
		}
	}
	if known == nil {
		f.Partial = append(f.Partial, partialReport{Name: p.Name, Prefixes: p.Prefixes})
		known = &f.Partial[len(f.Partial)-1]
	} else if strings.Join(known.Prefixes, "\x00") != strings.Join(p.Prefixes, "\x00") {
		f.Warnings = append(f.Warnings, fmt.Sprintf("%s has other prefixes for partial region %s than other nodes: "+
			"set partial-regions-file alike", node, p.Name))
	}
	for _, one := range p.Nodes {
		known.Nodes = append(known.Nodes, partialFollower{one, node, region})
	}
}

// printPartial writes a line for each partial region, and one for each of its nodes.
func printPartial(w io.Writer, f *fleetReport) {
	for _, p := range f.Partial {
		fmt.Fprintf(w, "partial region %s: follows only %s; never primary", p.Name, strings.Join(p.Prefixes, ", "))
		if len(p.Nodes) == 0 {
			fmt.Fprintln(w, "; no node of it follows any that answered")
			continue
		}
		fmt.Fprintln(w)
		for _, n := range p.Nodes {
			lag := secondsText(n.LagSeconds)
			does := fmt.Sprintf("revision %d, %d revisions behind, lag %s", n.Revision, n.Behind, lag)
			if n.Copying {
				does = "takes a copy, " + byteText(n.SentBytes) + " sent"
			}
			fmt.Fprintf(w, "  %s follows %s in %s: %s\n", n.Node, n.Source, n.Region, does)
		}
	}
}

// partialOf returns the partial regions that the first endpoint that answers knows, without who of them follows whom.
func partialOf(ctx context.Context, client *admin.Client) (list []partialReport, err error) {
	node, err := client.Node(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range node.Partial {
		list = append(list, partialReport{Name: p.Name, Prefixes: p.Prefixes})
	}
	return list, nil
}

// partialUnknown says that there may be partial regions.
func partialUnknown(err error) string {
	return "which partial regions there are is not known: " + plain.Text(err)
}

// tellUncompared says of which partial regions nothing is said.
func tellUncompared(ctx context.Context, client *admin.Client, w io.Writer) {
	list, err := partialOf(ctx, client)
	if err != nil {
		fmt.Fprintln(w, partialUnknown(err))
	}
	for _, p := range list {
		fmt.Fprintf(w, "not compared: partial region %s, which follows only %s; its nodes compare themselves: mimir "+
			"partial status\n", p.Name, strings.Join(p.Prefixes, ", "))
	}
}
