package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/live"
	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/operator"
)

// origin holds the flags that say how the etcd is reached from which something is brought in.
type origin struct {
	endpoints []string
	block     server.TLS
	insecure  bool
	who       login
}

func (o *origin) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.block.CA, "from-cacert", "", "PEM file of the authorities trusted to sign the etcd's certificates")
	f.StringVar(&o.block.Cert, "from-cert", "", "PEM file of the certificate to show to the etcd")
	f.StringVar(&o.block.Key, "from-key", "", "PEM file of its key")
	f.BoolVar(&o.insecure, "from-insecure-skip-tls-verify", false, "use TLS with the etcd, but trust any server")
	f.StringVar(&o.who.user, "from-user", os.Getenv("MIMIR_FROM_USER"),
		"user of the etcd with the role root, as name:password, or name with --from-password (MIMIR_FROM_USER)")
	f.StringVar(&o.who.password, "from-password", os.Getenv("MIMIR_FROM_PASSWORD"),
		"password of --from-user (MIMIR_FROM_PASSWORD)")
	for _, name := range []string{"from-user", "from-password"} { // what the environment has is not shown
		f.Lookup(name).DefValue = ""
	}
}

// needEndpoints adds the flag for commands that bring in nothing but of a running etcd.
func (o *origin) needEndpoints(c *cobra.Command) {
	c.Flags().StringSliceVar(&o.endpoints, "from", nil, "client URLs of the members of the etcd, tried in turn")
	c.MarkFlagRequired("from")
	o.addFlags(c)
}

// newDialing connects to one endpoint after the other.
func newDialing(endpoints []string, secure *tls.Config, who backup.Who) live.Dial {
	var next atomic.Uint64
	return func(ctx context.Context) (*grpc.ClientConn, error) {
		at := endpoints[(next.Add(1)-1)%uint64(len(endpoints))]
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		conn, err := backup.Dial(ctx, at, secure, who)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		return conn, nil
	}
}

func (o *origin) dialing(warn io.Writer) (live.Dial, error) {
	if len(o.endpoints) == 0 {
		return nil, fmt.Errorf("%w: --from is empty", errUsage)
	}
	of := connection{endpoints: o.endpoints, block: o.block, insecure: o.insecure, who: o.who}
	if (of.block.Cert == "") != (of.block.Key == "") {
		return nil, fmt.Errorf("%w: --from-cert and --from-key belong together", errUsage)
	}
	for _, e := range o.endpoints {
		if strings.HasPrefix(e, "http://") && (of.block.CA != "" || of.block.Cert != "" || of.insecure) {
			return nil, fmt.Errorf("%w: --from %s is without TLS, and other flags are about TLS", errUsage, e)
		}
	}
	return of.dialing(warn)
}

// dialing connects to the nodes of the fleet.
func (n *connection) dialing(warn io.Writer) (live.Dial, error) {
	secure, err := n.discreetTLS(n.endpoints, warn)
	if err != nil {
		return nil, err
	}
	var who backup.Who
	if who.User, who.Password, err = n.who.parts(); err != nil {
		return nil, err
	}
	if n.tokenFile != "" {
		if who.Token, err = operator.ReadToken(n.tokenFile); err != nil {
			return nil, fmt.Errorf("%w: --token-file: %w", errUsage, err)
		}
	}
	return newDialing(n.endpoints, secure, who), nil
}
