package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server"
)

func newWitness() *cobra.Command {
	o := server.WitnessOptions{FleetID: replication.DefaultFleetID}
	c := &cobra.Command{
		Use:   "witness --name NAME --listen ADDR --data-dir DIR",
		Short: "Run a voter without data, so that one of two regions can be lost",
		Long: "Run a witness until SIGTERM or SIGINT. It votes about who is primary, and holds no data but its\n" +
			"votes. Run it where it does not fail together with a region. A witness that lost its directory\n" +
			"must not come back under the same name.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(o.Listen); err != nil {
				return fmt.Errorf("%w: --listen: %w", errUsage, err)
			}
			o.TLS.Lenient = c.Flags().Changed("peer-tls-require-client-cert") && !o.TLS.RequireClientCert
			o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
			return server.RunWitness(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Name, "name", "", "its name, unique among the witnesses of the fleet for ever")
	f.StringVar(&o.Listen, "listen", "", "where nodes reach it, host:port")
	f.StringVar(&o.DataDir, "data-dir", "", "directory of its votes")
	f.StringVar(&o.FleetID, "fleet", o.FleetID, "the fleet that it votes in")
	f.StringVar(&o.TLS.Cert, "peer-tls-cert", "", "its certificate, PEM")
	f.StringVar(&o.TLS.Key, "peer-tls-key", "", "the key of it, PEM")
	f.StringVar(&o.TLS.CA, "peer-tls-ca", "", "authorities trusted to sign nodes, PEM")
	f.BoolVar(&o.TLS.RequireClientCert, "peer-tls-require-client-cert", false,
		"refuse nodes without a certificate; with --peer-tls-ca unless it is set to false")
	f.StringSliceVar(&o.PeerRule.AllowedCN, "peer-tls-allowed-cn", nil, "common names of nodes' certificates")
	f.StringSliceVar(&o.PeerRule.AllowedHostnames, "peer-tls-allowed-hostname", nil,
		"names for which nodes' certificates are valid")
	f.StringVar(&o.PeerRule.Bind, "peer-tls-bind", "", "node: a certificate must name the node that speaks")
	f.StringVar(&o.FleetKeyFile, "fleet-key-file", "", "secrets that nodes show each other, one a line")
	f.BoolVar(&o.KeyOptional, "fleet-key-optional", false, "let in who shows no key, while not all have one")
	f.StringVar(&o.Handshakes.MinVersion, "tls-min-version", "1.2", "least version of TLS: 1.2 or 1.3")
	f.StringSliceVar(&o.Handshakes.CipherSuites, "tls-cipher-suites", nil, "cipher suites of TLS 1.2 that may be used")
	f.StringVar(&o.EncryptionKeyFile, "encryption-key-file", "",
		"keys of its directory, one a line, the active one first")
	for _, name := range []string{"name", "listen", "data-dir"} {
		c.MarkFlagRequired(name)
	}
	return c
}
