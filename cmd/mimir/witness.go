package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server"
)

func newWitness() *cobra.Command {
	var o server.WitnessOptions
	var w witnessFlags
	c := &cobra.Command{
		Use:   "witness --name NAME --listen ADDR --data-dir DIR",
		Short: "Run a voter without data, so that one of two regions can be lost",
		Long: "Run a witness until SIGTERM or SIGINT. It votes about who is primary, and holds no data but its\n" +
			"votes. Run it where it does not fail together with a region. A witness that lost its directory\n" +
			"must not come back under the same name.\n\n" +
			"It may vote in several fleets: repeat --fleet. Each has its own votes, and what ends those of one,\n" +
			"such as a full disk, does not touch the others. --name, --fleet-key-file, --peer-tls-allowed-cn and\n" +
			"--peer-tls-allowed-hostname take FLEET=VALUE for one of them.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(o.Listen); err != nil {
				return fmt.Errorf("%w: --listen: %w", errUsage, err)
			}
			var err error
			if o.Fleets, err = w.of(); err != nil {
				return fmt.Errorf("%w: %w", errUsage, err)
			}
			o.TLS.Lenient = c.Flags().Changed("peer-tls-require-client-cert") && !o.TLS.RequireClientCert
			signal.Ignore(syscall.SIGPIPE) // of a log that nobody reads any more
			var end func()
			o.Logger, end = server.NewLog(os.Stderr)
			defer end()
			return server.RunWitness(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&w.names, "name", nil, "its name, unique among the witnesses of a fleet for ever")
	f.StringVar(&o.Listen, "listen", "", "where nodes reach it, host:port")
	f.StringVar(&o.ListenHTTP, "listen-http", "", "port for /metrics, /livez and /readyz, plaintext; none if not set")
	f.StringVar(&o.DataDir, "data-dir", "", "directory of its votes")
	f.StringSliceVar(&w.fleets, "fleet", []string{replication.DefaultFleetID},
		fmt.Sprintf("a fleet that it votes in; up to %d, others are refused", server.MaxWitnessFleets))
	f.StringVar(&o.TLS.Cert, "peer-tls-cert", "", "its certificate, PEM")
	f.StringVar(&o.TLS.Key, "peer-tls-key", "", "the key of it, PEM")
	f.StringVar(&o.TLS.CA, "peer-tls-ca", "", "authorities trusted to sign nodes, PEM")
	f.StringVar(&o.TLS.CRL, "peer-tls-crl", "", "certificates that these authorities have revoked, PEM or DER")
	f.BoolVar(&o.TLS.RequireClientCert, "peer-tls-require-client-cert", false,
		"refuse nodes without a certificate; with --peer-tls-ca unless it is set to false")
	f.StringSliceVar(&w.commonNames, "peer-tls-allowed-cn", nil, "common names of nodes' certificates")
	f.StringSliceVar(&w.hostnames, "peer-tls-allowed-hostname", nil,
		"names for which nodes' certificates are valid")
	f.StringVar(&w.bind, "peer-tls-bind", "", "node: a certificate must name the node that speaks")
	f.StringArrayVar(&w.keyFiles, "fleet-key-file", nil, "secrets that nodes show each other, one a line")
	f.BoolVar(&o.KeyOptional, "fleet-key-optional", false, "let in who shows no key, while not all have one")
	f.StringSliceVar(&o.Crowds, "crowds", nil,
		"networks (10.0.0.0/8) and addresses behind each of which there may be many nodes, as behind NAT")
	f.StringVar(&o.Handshakes.MinVersion, "tls-min-version", "1.2", "least version of TLS: 1.2 or 1.3")
	f.StringVar(&o.Handshakes.MaxVersion, "tls-max-version", "", "greatest version of TLS, likewise")
	f.StringSliceVar(&o.Handshakes.CipherSuites, "tls-cipher-suites", nil, "cipher suites of TLS 1.2 that may be used")
	f.StringVar(&o.EncryptionKeyFile, "encryption-key-file", "",
		"keys of its directory, one a line, the active one first")
	for _, name := range []string{"name", "listen", "data-dir"} {
		c.MarkFlagRequired(name)
	}
	return c
}

// witnessFlags are those that may differ between the fleets of a witness.
type witnessFlags struct {
	fleets, names, keyFiles, commonNames, hostnames []string
	bind                                            string
}

// of returns what each fleet is told.
func (w *witnessFlags) of() (list []server.WitnessFleet, err error) {
	for _, fleet := range w.fleets {
		f := server.WitnessFleet{ID: fleet, PeerRule: server.PeerRule{
			AllowedCN: w.valuesOf(fleet, w.commonNames), AllowedHostnames: w.valuesOf(fleet, w.hostnames), Bind: w.bind,
		}}
		if f.Name, err = single("name", fleet, w.valuesOf(fleet, w.names)); err != nil {
			return nil, err
		}
		if f.FleetKeyFile, err = single("fleet-key-file", fleet, w.valuesOf(fleet, w.keyFiles)); err != nil {
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

// valuesOf returns the values of a flag for one fleet: those that name it, or else those that name none.
func (w *witnessFlags) valuesOf(fleet string, values []string) []string {
	var own, all []string
	for _, v := range values {
		of, rest, found := strings.Cut(v, "=")
		switch {
		case !found || !slices.Contains(w.fleets, of):
			all = append(all, v)
		case of == fleet:
			own = append(own, rest)
		}
	}
	if len(own) > 0 {
		return own
	}
	return all
}

// single returns the one value that there may be.
func single(flag, fleet string, values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", fmt.Errorf("--%s: %d values for fleet %s", flag, len(values), fleet)
}
