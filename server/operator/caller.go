package operator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/mimir-kv/mimir/server/door"
)

// Caller is who makes a call, as far as he shows it.
type Caller struct {
	// Remote is the address that he calls from, host:port.
	Remote string
	// Certificate is what he showed, if an authority of the listener signed it; else nil.
	Certificate *x509.Certificate
	// Tokens are those that he showed, the first mostTokens: of an operator, or of a user of the etcd API.
	Tokens []string
	// Apart says that he came to a port at which a certificate says of nobody that he is a user: see [Apart].
	Apart bool
	// Fresh says that the call is none of etcd's: a token of a user that says itself that it was made before the last
	// change of users or roles is none for it.
	Fresh bool
	// Changes says that the call is none of etcd's and may change something: a user is believed to be root only once
	// the primary was asked, if it answers.
	Changes bool
}

// mostTokens bounds what is looked up for one call.
const mostTokens = 4

const (
	bearer = "bearer "
	// tokenKey is the metadata in which clients of etcd show a token.
	tokenKey, authorizationKey = "token", "authorization"
)

type callerKey struct{}

type apartKey struct{}

// Apart returns h for a port with authorities of its own: who its certificates are of is no user of the etcd API.
func Apart(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), apartKey{}, true)))
	})
}

// gatewayMark is metadata that JSON gateways of etcd send, this one's and others.
const gatewayMark = "grpcgateway-accept"

// callerOf returns who made a gRPC request: the caller of the HTTP request that it was, if it came through the gateway.
func callerOf(ctx context.Context) *Caller {
	if c, ok := ctx.Value(callerKey{}).(*Caller); ok {
		return c
	}
	c := &Caller{}
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if p.Addr != nil {
			c.Remote = p.Addr.String()
		}
		// The certificate of a gateway is not its callers'.
		gateway := len(metadata.ValueFromIncomingContext(ctx, gatewayMark)) > 0
		if shown, ok := p.AuthInfo.(credentials.TLSInfo); ok && !gateway {
			c.Certificate = verified(&shown.State)
		}
	}
	c.show(metadata.ValueFromIncomingContext(ctx, authorizationKey))
	c.show(metadata.ValueFromIncomingContext(ctx, tokenKey))
	return c
}

// Remote returns the address of who made a gRPC request: through the JSON gateway that of the HTTP request. It is empty
// if it is not known.
func Remote(ctx context.Context) string { return callerOf(ctx).Remote }

// requester returns who made an HTTP request.
func requester(r *http.Request) *Caller {
	c := &Caller{Remote: r.RemoteAddr, Apart: r.Context().Value(apartKey{}) != nil}
	if r.TLS != nil {
		c.Certificate = verified(r.TLS)
	}
	c.show(r.Header.Values(authorizationKey))
	return c
}

// verified returns the certificate that the other side showed and an authority signed, nil if there is none.
func verified(s *tls.ConnectionState) *x509.Certificate {
	if len(s.VerifiedChains) == 0 || len(s.PeerCertificates) == 0 {
		return nil
	}
	return s.PeerCertificates[0]
}

func (c *Caller) show(values []string) {
	for _, v := range values {
		if len(c.Tokens) == mostTokens {
			return
		}
		if len(v) > len(bearer) && strings.EqualFold(v[:len(bearer)], bearer) {
			v = v[len(bearer):]
		}
		if v = strings.TrimSpace(v); v != "" {
			c.Tokens = append(c.Tokens, v)
		}
	}
}

// host is where the caller is, without the port, which changes.
func (c *Caller) host() string {
	host, _, err := net.SplitHostPort(c.Remote)
	if err != nil {
		return c.Remote
	}
	return host
}

// site is where the caller is, by what is told apart of networks. It is not valid for who is on this machine.
func (c *Caller) site() netip.Prefix {
	at, err := netip.ParseAddrPort(c.Remote)
	if err != nil || at.Addr().Unmap().IsLoopback() { // a socket of the machine has no port
		return netip.Prefix{}
	}
	return door.Site(door.Source(at.Addr()))
}

// Credentials are those of a gRPC server whose listener has done the handshake of TLS: what the client showed comes to
// the handlers as if gRPC had done it.
func Credentials() credentials.TransportCredentials { return shaken{insecure.NewCredentials()} }

// shown is a connection that tells what its handshake showed.
type shown interface{ ConnectionState() tls.ConnectionState }

type shaken struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (s shaken) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secure, ok := c.(shown)
	if below, covers := c.(interface{ NetConn() net.Conn }); !ok && covers {
		secure, ok = below.NetConn().(shown)
	}
	if !ok {
		return s.TransportCredentials.ServerHandshake(c)
	}
	return c, credentials.TLSInfo{
		State:          secure.ConnectionState(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// Clone implements credentials.TransportCredentials.
func (s shaken) Clone() credentials.TransportCredentials {
	return shaken{s.TransportCredentials.Clone()}
}
