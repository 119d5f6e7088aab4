package grpctransport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, grpctransport.MinKeyBytes) }

// Who has no key of the fleet is refused, also where nothing is encrypted; while a key is changed those who have both
// and those who have one of them talk to each other.
func TestFleetKey(t *testing.T) {
	authority := newAuthority(t)
	type has = [][]byte
	for _, test := range []struct {
		name     string
		server   has
		optional bool // at the server
		dialer   has
		try      bool // optional at the dialer
		tls      bool
		want     error
		says     string
	}{
		{name: "the same", server: has{key(1)}, dialer: has{key(1)}},
		{name: "the same, with TLS", server: has{key(1)}, dialer: has{key(1)}, tls: true},
		{name: "none", server: has{key(1)}, want: transport.ErrStranger, says: "give it the fleet key too"},
		{name: "none, with TLS", server: has{key(1)}, tls: true, want: transport.ErrStranger},
		{name: "another", server: has{key(1)}, dialer: has{key(2)}, want: transport.ErrUnreachable,
			says: "does not know"},
		{name: "the old one, still", server: has{key(2), key(1)}, dialer: has{key(1)}},
		{name: "the new one, already", server: has{key(1), key(2)}, dialer: has{key(2), key(1)}},
		{name: "none, not yet needed", server: has{key(1)}, optional: true},
		{name: "to one without", dialer: has{key(1)}, want: transport.ErrUnreachable, says: "does not answer"},
		{name: "to one without, not yet needed", dialer: has{key(1)}, try: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, addr := tcp(t, func(o *grpctransport.Options) {
				o.Keys, o.KeyOptional = test.server, test.optional
				if test.tls {
					o.ServerTLS = &tls.Config{Certificates: []tls.Certificate{authority.issue(t)}}
				}
			})
			serve(t, server, echo)
			dialer, _ := tcp(t, func(o *grpctransport.Options) {
				o.Keys, o.KeyOptional = test.dialer, test.try
				if test.tls {
					o.ClientTLS = &tls.Config{RootCAs: authority.pool}
				}
			})
			_, err := call(t, dialer, addr, []byte("hello"))
			for deadline := time.Now().Add(30 * time.Second); test.try && err != nil && time.Now().Before(deadline); {
				_, err = call(t, dialer, addr, []byte("hello")) // without the key, the next time
			}
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What somebody heard of one connection opens no other one.
func TestFleetKeyHeardBefore(t *testing.T) {
	server, addr := tcp(t, func(o *grpctransport.Options) { o.Keys = [][]byte{key(1)} })
	serve(t, server, echo)
	var heard bytes.Buffer
	dialer, _ := tcp(t, func(o *grpctransport.Options) {
		o.Keys = [][]byte{key(1)}
		o.Dialer = func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			return &overheard{c, &heard}, err
		}
	})
	if _, err := call(t, dialer, addr, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write(heard.Bytes()[:8+8+32+32]); err != nil {
		t.Fatal(err)
	}
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(c); answer.Len() != 1+32+32 {
		t.Errorf("answered %d bytes to what it had heard before: %v", answer.Len(), err)
	}
}

// overheard is a connection of which somebody hears what is sent.
type overheard struct {
	net.Conn
	heard *bytes.Buffer
}

func (o *overheard) Write(p []byte) (int, error) {
	if o.heard.Len() < 100 {
		o.heard.Write(p)
	}
	return o.Conn.Write(p)
}
