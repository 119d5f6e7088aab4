package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/operator"
)

// origin holds the flags that say how an etcd is reached: from which something is brought in, or to which.
type origin struct {
	endpoints []string
	block     server.TLS
	insecure  bool
	who       login
	side      string // "from" or "to", with which the names of its flags begin
}

// addFlags adds the flags for an etcd from which something is brought in.
func (o *origin) addFlags(c *cobra.Command) {
	o.addFlagsOf(c, "from", "user of the etcd with the role root")
}

func (o *origin) addFlagsOf(c *cobra.Command, side, user string) {
	o.side = side
	f, env := c.Flags(), "MIMIR_"+strings.ToUpper(side)
	f.StringVar(&o.block.CA, side+"-cacert", "", "PEM file of the authorities trusted to sign the etcd's certificates")
	f.StringVar(&o.block.Cert, side+"-cert", "", "PEM file of the certificate to show to the etcd")
	f.StringVar(&o.block.Key, side+"-key", "", "PEM file of its key")
	f.BoolVar(&o.insecure, side+"-insecure-skip-tls-verify", false, "use TLS with the etcd, but trust any server")
	f.StringVar(&o.who.user, side+"-user", os.Getenv(env+"_USER"),
		fmt.Sprintf("%s, as name:password, or name with --%s-password (%s_USER)", user, side, env))
	f.StringVar(&o.who.password, side+"-password", os.Getenv(env+"_PASSWORD"),
		fmt.Sprintf("password of --%s-user (%s_PASSWORD)", side, env))
	for _, name := range []string{side + "-user", side + "-password"} { // what the environment has is not shown
		f.Lookup(name).DefValue = ""
	}
}

// needEndpoints adds the flags for commands that work with nothing but a running etcd.
func (o *origin) needEndpoints(c *cobra.Command) {
	o.addFlags(c)
	o.needEndpointsOf(c)
}

func (o *origin) needEndpointsOf(c *cobra.Command) {
	c.Flags().StringSliceVar(&o.endpoints, o.side, nil, "client URLs of the members of the etcd, tried in turn")
	c.MarkFlagRequired(o.side)
}

// newDialing connects to one endpoint after the other.
func newDialing(endpoints []string, secure *tls.Config, who backup.Who) sides.Dial {
	return sides.InTurn(endpoints, func(ctx context.Context, at string) (*grpc.ClientConn, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		conn, err := backup.Dial(ctx, at, secure, who)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		return conn, nil
	})
}

func (o *origin) dialing(warn io.Writer) (sides.Dial, error) {
	if len(o.endpoints) == 0 {
		return nil, fmt.Errorf("%w: --%s is empty", errUsage, o.side)
	}
	of := connection{endpoints: o.endpoints, block: o.block, insecure: o.insecure, who: o.who}
	if (of.block.Cert == "") != (of.block.Key == "") {
		return nil, fmt.Errorf("%w: --%s-cert and --%[2]s-key belong together", errUsage, o.side)
	}
	for _, e := range o.endpoints {
		if strings.HasPrefix(e, "http://") && (of.block.CA != "" || of.block.Cert != "" || of.insecure) {
			return nil, fmt.Errorf("%w: --%s %s is without TLS, and other flags are about TLS", errUsage, o.side, e)
		}
	}
	return of.dialing(warn)
}

// dialing connects to the nodes of the fleet.
func (n *connection) dialing(warn io.Writer) (sides.Dial, error) {
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
