package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server/authority"
	"github.com/mimir-kv/mimir/server/fleetfile"
	"github.com/mimir-kv/mimir/server/trust"
)

func newCert() *cobra.Command {
	c := &cobra.Command{
		Use:   "cert",
		Short: "Be a small certificate authority for a fleet, where there is none",
		Long: "Make the certificates of a fleet: two authorities, for nodes and for clients, and what they sign.\n" +
			"The keys of the authorities are in --dir: keep it off the nodes. docs/certificates.md has the layout,\n" +
			"and how all of it is exchanged while nodes run.",
		Args: knownCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCertInit(), newCertNodes(), newCertClient(), newCertShow())
	return c
}

// mostDays is for how long a certificate is good at most.
const mostDays = 3650

// certFlags are those of commands that make certificates.
type certFlags struct {
	dir          string
	days, within int
	all          bool
}

func (f *certFlags) add(c *cobra.Command) {
	f.addDir(c)
	c.Flags().IntVar(&f.days, "days", 365, "for how many days they are good")
	c.Flags().IntVar(&f.within, "renew-within", 30, "make anew what ends within so many days")
	c.Flags().BoolVar(&f.all, "all", false, "make all anew")
}

func (f *certFlags) addDir(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "dir", "certs", "directory of the authorities, and of what they sign")
}

// terms returns for how long certificates are good.
func (f *certFlags) terms() (authority.Terms, error) {
	if f.days <= 0 || f.within < 0 || f.within >= f.days {
		return authority.Terms{}, fmt.Errorf("%w: --days %d, --renew-within %d: the first is the larger one, and both "+
			"are positive", errUsage, f.days, f.within)
	}
	if f.days > mostDays {
		return authority.Terms{}, fmt.Errorf("%w: --days %d: at most %d, as long as an authority", errUsage, f.days,
			mostDays)
	}
	const day = 24 * time.Hour
	return authority.Terms{Lasts: time.Duration(f.days) * day, Within: time.Duration(f.within) * day, All: f.all}, nil
}

func newCertInit() *cobra.Command {
	var f certFlags
	fleet := ""
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the two authorities, of nodes and of clients",
		Long: "Make the authorities peer-ca and client-ca in --dir: a key and a certificate each, for ten years.\n" +
			"Whoever has peer-ca.key can be any node: keep it offline. What is there is left as it is.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return makeAuthorities(c.OutOrStdout(), f.dir, fleet) },
	}
	f.addDir(c)
	c.Flags().StringVar(&fleet, "fleet", "mimir", "name of the fleet, for people who read the certificates")
	return c
}

// makeAuthorities makes those that lack. Of one that lacks a part, since it was cut short, it says what is to be done.
func makeAuthorities(out io.Writer, dir, fleet string) error {
	var failed []error
	made := 0
	for _, name := range []string{authority.Peers, authority.Clients} {
		certificate := filepath.Join(dir, name+".crt")
		err := authority.Make(dir, name, fleet, time.Now())
		if err == nil {
			made++
			fmt.Fprintf(out, "made %s, and its key\n", certificate)
			continue
		}
		if errors.Is(err, authority.ErrExists) {
			_, broken := authority.Open(dir, name)
			_, offline := authority.ReadCertificate(certificate)
			if broken == nil || offline == nil && errors.Is(broken, fs.ErrNotExist) { // its key is kept elsewhere
				fmt.Fprintf(out, "%s is there, and left as it is\n", certificate)
				continue
			} else {
				err = fmt.Errorf("%w, and it cannot be used: if nothing was signed with it yet, remove %s and %s, and "+
					"do this again: %w", err, certificate, filepath.Join(dir, name+".key"), broken)
			}
		}
		failed = append(failed, fmt.Errorf("no authority %s made: %w", name, err))
	}
	if made+len(failed) == 0 {
		return fmt.Errorf("no authority made: of both %w in %s", authority.ErrExists, dir)
	}
	return errors.Join(failed...)
}

func newCertNodes() *cobra.Command {
	var f certFlags
	c := &cobra.Command{
		Use:   "nodes FILE",
		Short: "Make the certificates of all nodes and witnesses of a fleet file that are due",
		Long: "Make what each node and witness of a fleet file needs, in --dir/NODE: peer.crt for other nodes, that\n" +
			"names the node alone (peer-tls.bind: node), server.crt for clients, their keys, and the authorities.\n" +
			"Only what is missing, ends soon, or is of other names is made: run it again to renew. Bring each\n" +
			"node its directory; a node uses what is replaced within five seconds. One that is to move needs\n" +
			"certificates for both addresses before: the new one is its host, and the old one in peer and client.",
		Args: oneArgument("the fleet file"),
		RunE: func(c *cobra.Command, arguments []string) error {
			terms, err := f.terms()
			if err != nil {
				return err
			}
			fleet, err := readFleet(arguments[0])
			if err != nil {
				return err
			}
			made, err := authority.Members(f.dir, certMembers(fleet), terms, time.Now())
			return f.tell(c, made, withoutAuthority(f.dir, err), authority.Peers, authority.Clients)
		},
	}
	f.add(c)
	return c
}

// certMembers returns whom a fleet has certificates for.
func certMembers(f *fleetfile.Fleet) (list []authority.Member) {
	host := func(addr string) []string {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			return []string{host}
		}
		return nil
	}
	for _, m := range f.Members() {
		one := authority.Member{Fleet: f.Fleet, Region: m.Region, Name: m.Name, Peer: host(m.Node.Peer)}
		if m.Region != fleetfile.WitnessRegion {
			one.Client = host(m.Node.Client)
		}
		for _, hosts := range []*[]string{&one.Peer, &one.Client} {
			if len(*hosts) > 0 && !slices.Contains(*hosts, m.Node.Host) {
				*hosts = append(*hosts, m.Node.Host)
			}
		}
		list = append(list, one)
	}
	return list
}

// withoutAuthority says what to do where there is none.
func withoutAuthority(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no authority in %s: make one with mimir cert init --dir %s", err, dir, dir)
	}
	return err
}

// tell tells what was made, and which of the authorities that sign end soon: what they signed ends with them, and
// cannot be renewed.
func (f *certFlags) tell(c *cobra.Command, made []authority.Made, err error, signing ...string) error {
	w := c.OutOrStdout()
	for _, m := range made {
		fmt.Fprintf(w, "made %s.crt, since %s; it ends on %s\n", m.Path, m.Why, m.Ends.UTC().Format(time.DateOnly))
	}
	ending := false
	for _, name := range signing {
		path := filepath.Join(f.dir, name+".crt")
		ca, unread := authority.ReadCertificate(path)
		if unread != nil || time.Now().After(ca.NotAfter) { // err says it
			continue
		}
		if days := int(time.Until(ca.NotAfter).Hours() / 24); days < f.within {
			ending = true
			fmt.Fprintf(c.ErrOrStderr(), "mimir: %s ends on %s, in %d days, and with it all that it signed, which "+
				"cannot be renewed: make a new one, as docs/certificates.md says under New authorities\n", path,
				ca.NotAfter.UTC().Format(time.DateOnly), days)
		}
	}
	if len(made) == 0 && !ending && err == nil {
		fmt.Fprintln(w, "nothing is due")
	}
	return err
}

func newCertClient() *cobra.Command {
	var f certFlags
	c := &cobra.Command{
		Use:   "client NAME",
		Short: "Make the certificate of a client, or of an operator, if it is due",
		Long: "Make NAME.crt and NAME.key in --dir, with the common name NAME. An operator is who has one of the\n" +
			"names in operator.allowed-cn, which a fleet file has as tls.operators (operator, if it says nothing).",
		Args: oneArgument("the name of a client"),
		RunE: func(c *cobra.Command, arguments []string) error {
			name := arguments[0]
			if name == authority.Peers || name == authority.Clients || strings.ContainsAny(name, `/\`) || name == "" {
				return fmt.Errorf("%w: %q is no name of a client", errUsage, name)
			}
			terms, err := f.terms()
			if err != nil {
				return err
			}
			made, err := authority.One(f.dir, name, terms, time.Now())
			return f.tell(c, made, withoutAuthority(f.dir, err), authority.Clients)
		},
	}
	f.add(c)
	return c
}

func newCertShow() *cobra.Command {
	n := &connection{endpoints: []string{"-"}}
	c := &cobra.Command{
		Use:   "show PLACE...",
		Short: "Show whose certificates files have, and when they end",
		Long: "Show the certificates of files, or of all files of directories whose names end in .crt or .pem, the\n" +
			"first to end first. The exit status is 1 if one has ended. What running nodes use, and when that\n" +
			"ends, mimir status tells.",
		Args: func(c *cobra.Command, arguments []string) error {
			if len(arguments) == 0 {
				return fmt.Errorf("%w: %s wants files or directories", errUsage, c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, arguments []string) error {
			if err := n.check(); err != nil {
				return err
			}
			list, err := shownCertificates(arguments, time.Now())
			if err != nil {
				return err
			}
			err = n.print(c.OutOrStdout(), list, func(w io.Writer) { printCertificates(w, list) })
			for _, one := range list {
				if err == nil && one.State == trust.StateExpired {
					err = fmt.Errorf("%s has ended on %s", one.File, one.Ends.Format(time.DateOnly))
				}
			}
			return err
		},
	}
	c.Flags().StringVarP(&n.output, "output", "o", "text", "text or json")
	return c
}

// shownCertificate is what mimir cert show tells of a file.
type shownCertificate struct {
	File   string    `json:"file"`
	Of     string    `json:"of"`
	Names  []string  `json:"names"`
	Issuer string    `json:"issuer"`
	Ends   time.Time `json:"ends"`
	Days   int       `json:"days"`            // that are left
	State  string    `json:"state,omitempty"` // expiring, expired, or empty
}

// shownCertificates reads files, and those in directories.
func shownCertificates(places []string, now time.Time) (list []shownCertificate, err error) {
	for _, place := range places {
		err := filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if suffix := filepath.Ext(path); path != place && suffix != ".crt" && suffix != ".pem" {
				return nil
			}
			c, err := authority.ReadCertificate(path)
			if err != nil {
				return err
			}
			list = append(list, shown(path, c, now))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(list, func(a, b shownCertificate) int { return a.Ends.Compare(b.Ends) })
	return list, nil
}

func shown(path string, c *x509.Certificate, now time.Time) shownCertificate {
	one := shownCertificate{
		File: path, Of: c.Subject.CommonName, Names: slices.Clone(c.DNSNames), Issuer: c.Issuer.CommonName,
		Ends: c.NotAfter.UTC(), Days: int(c.NotAfter.Sub(now).Hours() / 24),
	}
	for _, ip := range c.IPAddresses {
		one.Names = append(one.Names, ip.String())
	}
	for _, uri := range c.URIs {
		one.Names = append(one.Names, uri.String())
	}
	switch left := c.NotAfter.Sub(now); {
	case left < 0:
		one.State = trust.StateExpired
	case left < trust.Soon:
		one.State = trust.StateExpiring
	}
	return one
}

func printCertificates(w io.Writer, list []shownCertificate) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FILE\tOF\tENDS\tDAYS\tNAMES")
	for _, c := range list {
		days := fmt.Sprint(c.Days)
		if c.State != "" {
			days += " " + c.State
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.File, dash(c.Of), c.Ends.Format(time.DateOnly), days,
			dash(strings.Join(c.Names, " ")))
	}
	t.Flush()
	if len(list) == 0 {
		fmt.Fprintln(w, "no certificates")
	}
}
