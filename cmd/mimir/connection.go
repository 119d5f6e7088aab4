package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/operator"
)

const defaultEndpoint = "127.0.0.1:2379"

// connection holds the flags of commands that talk to a fleet.
type connection struct {
	endpoints []string
	block     server.TLS
	insecure  bool
	who       login
	tokenFile string
	output    string
}

func (n *connection) addFlags(c *cobra.Command) {
	endpoints := []string{defaultEndpoint}
	if text, ok := os.LookupEnv("MIMIR_ENDPOINTS"); ok {
		endpoints = splitList(text)
	}
	flags := c.Flags()
	flags.StringSliceVar(&n.endpoints, "endpoints", endpoints,
		"client addresses of any nodes of any regions, tried in turn (MIMIR_ENDPOINTS)")
	flags.StringVar(&n.block.CA, "cacert", os.Getenv("MIMIR_CACERT"),
		"PEM file of the authorities trusted to sign the servers' certificates (MIMIR_CACERT)")
	flags.StringVar(&n.block.Cert, "cert", os.Getenv("MIMIR_CERT"), "PEM file of the certificate to show (MIMIR_CERT)")
	flags.StringVar(&n.block.Key, "key", os.Getenv("MIMIR_KEY"), "PEM file of its key (MIMIR_KEY)")
	flags.StringVar(&n.tokenFile, "token-file", os.Getenv("MIMIR_TOKEN_FILE"),
		"file with the token to show as an operator, where operator.token-file of the nodes has it (MIMIR_TOKEN_FILE)")
	n.who.addFlags(c)
	flags.BoolVar(&n.insecure, "insecure-skip-tls-verify", false, "use TLS, but trust any server")
	flags.StringVarP(&n.output, "output", "o", "text", "text or json")
	completes(c, "output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (n *connection) check() error {
	if n.output != "text" && n.output != "json" {
		return fmt.Errorf("%w: --output %q: use text or json", errUsage, n.output)
	}
	if len(n.endpoints) == 0 {
		return fmt.Errorf("%w: --endpoints is empty", errUsage)
	}
	return nil
}

func (n *connection) tls() (*tls.Config, error) {
	if (n.block.Cert == "") != (n.block.Key == "") {
		return nil, fmt.Errorf("%w: --cert and --key belong together", errUsage)
	}
	return server.ClientTLSConfig(n.block, n.insecure)
}

// discreetTLS returns how to show who asks at endpoints, to each of which that is shown; see discreet.
func (n *connection) discreetTLS(endpoints []string, warn io.Writer) (*tls.Config, error) {
	secure, err := n.tls()
	if err == nil {
		err = n.discreet(secure != nil, endpoints, warn)
	}
	return secure, err
}

// discreet refuses to show a password or a token without TLS where TLS was asked for, and warns where it was not.
func (n *connection) discreet(secure bool, endpoints []string, warn io.Writer) error {
	if n.who == (login{}) && n.tokenFile == "" {
		return nil
	}
	for _, endpoint := range endpoints {
		scheme, host, url := strings.Cut(endpoint, "://")
		switch {
		case scheme == "https" && url, !url && secure:
		case url && (scheme == "unix" || scheme == "unixs"): // it is of this machine
		case secure:
			return fmt.Errorf("%w: %s has no TLS, which was asked for, and neither a password nor a token is sent "+
				"there: name it without http://", errUsage, endpoint)
		case !url && !isHere(endpoint), url && !isHere(host):
			fmt.Fprintf(warn, "mimir: %s has no TLS: what says who asks, a password or a token, goes there in clear; "+
				"give --cacert, or name it as https://\n", endpoint)
		}
	}
	return nil
}

// isHere reports whether an address is one of this machine itself.
func isHere(address string) bool {
	host, _, err := net.SplitHostPort(strings.TrimRight(address, "/"))
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// client returns a client of the fleet. The caller closes it. What speaks against how it asks is said to warn.
func (n *connection) client(warn io.Writer) (*admin.Client, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	secure, err := n.tls()
	if err == nil && secure == nil { // else the client itself shows nothing without TLS, and asks what needs nothing
		err = n.discreet(false, n.endpoints, warn)
	}
	if err != nil {
		return nil, err
	}
	client, err := admin.NewClient(n.endpoints, secure)
	if err != nil {
		return nil, err
	}
	user, password, err := n.who.parts()
	if err != nil {
		client.Close()
		return nil, err
	}
	if user != "" {
		client = client.WithUser(user, password)
	}
	if n.tokenFile == "" {
		return client, nil
	}
	token, err := operator.ReadToken(n.tokenFile)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("%w: --token-file: %w", errUsage, err)
	}
	return client.WithToken(token), nil
}

// asking returns what a command does that asks a fleet something, with a client that is closed afterwards.
func (n *connection) asking(
	do func(c *cobra.Command, client *admin.Client, arguments []string) error,
) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, arguments []string) error {
		client, err := n.client(c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer client.Close()
		told := admin.Telling(client, func(endpoints string, silent time.Duration) {
			fmt.Fprintf(c.ErrOrStderr(), "mimir: waiting for %s: no answer for %s\n", endpoints, silent)
		})
		return advised(do(c, admin.GivingUp(told, silentEndpoint), arguments))
	}
}

// silentEndpoint is how long an endpoint may be silent on one step of a small question before a command gives it up.
// What shows the state of the fleet waits for silenceTimeout alone.
const silentEndpoint = 3 * time.Second

// advised is an error of a command with what to do, if nobody answered it.
func advised(err error) error {
	if !errors.Is(err, admin.ErrNoEndpoint) {
		return err
	}
	return fmt.Errorf("%w; what the fleet does is unknown: name nodes of other regions with --endpoints, and look on "+
		"the machine whether mimir serve runs (curl --max-time 1 its listen-http/readyz?verbose, its log)", err)
}

// print writes v as JSON, or lets text write it for a reader.
func (n *connection) print(w io.Writer, v any, text func(io.Writer)) error {
	if n.output == "json" {
		text, err := admin.Marshal(v)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := json.Indent(&out, text, "", "  "); err != nil {
			return err
		}
		_, err = fmt.Fprintln(w, out.String())
		return err
	}
	text(w)
	return nil
}

func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
