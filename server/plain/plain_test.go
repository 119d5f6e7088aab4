package plain

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

// No error of a library is printed as it is: who was asked and why it failed stays, and nothing else.
func TestErrorsAreInPlainText(t *testing.T) {
	asked := func(err error) error { return fmt.Errorf("no snapshot saved: us-1:2379: %w", err) }
	for _, c := range []struct {
		err  error
		want string
	}{
		{grpcstatus.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp `+
			`127.0.0.1:1: connect: connection refused"`), "nothing listens at 127.0.0.1:1 (connection refused)"},
		{grpcstatus.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp `+
			`10.0.0.1:2379: i/o timeout"`), "10.0.0.1:2379 does not take the connection"},
		{grpcstatus.Error(codes.Unavailable, `connection error: desc = "transport: `+
			`authentication handshake failed: tls: first record does not look like a TLS handshake"`),
			"TLS failed: tls: first record does not look like a TLS handshake"},
		{grpcstatus.Errorf(codes.Unavailable, "connection error: desc = %q", `transport: authentication handshake `+
			`failed: x509: signed by unknown authority (perhaps "a" of "b")`),
			`TLS failed: x509: signed by unknown authority (perhaps "a" of "b")`},
		{grpcstatus.Error(codes.Unavailable, "etcdserver: no leader"), "etcdserver: no leader"},
		{grpcstatus.Error(codes.DeadlineExceeded, "context deadline exceeded"), "no answer came in time"},
		{grpcstatus.Error(codes.Canceled, "context canceled"), "it was ended before an answer came"},
		{grpcstatus.Error(codes.Unimplemented, "unknown service etcdserverpb.Maintenance"),
			"it does not know this request: it is of an earlier version, or no Mimir node"},
		{errors.New("ask us-1:2380 for vote-renew: transport: peer unreachable: us-1:2380: it stands still"),
			"us-1:2380: it stands still"},
		{errors.New("ask us-1:2380 for report: transport: peer unreachable: us-1:2380: it stands still"),
			"us-1:2380: it stands still"},
		{context.DeadlineExceeded, "no answer came in time"},
		{context.Canceled, "it was ended before an answer came"},
		{grpcstatus.Error(codes.Internal, ""), "it failed, and says no more than Internal"},
		{grpcstatus.Error(codes.Code(77), "of a proxy"), "of a proxy"},
		{grpcstatus.Error(codes.Code(77), ""), "it failed, and says no more than Code(77)"},
		{errors.New("\x1b]0;title\x07\x1b[31mred\u202e"), "\ufffd]0;title\ufffd\ufffd[31mred\ufffd"},
		{errors.New("dial tcp: lookup no.such on 127.0.0.53:53: no such host"),
			"there is no machine of the name no.such"},
		{errors.New("listen tcp 10.1.0.1:2379: bind: cannot assign requested address"),
			"this machine has no such address"},
		{errors.New(`replication: unknown region: "zz"; known are a, b`), `unknown region: "zz"; known are a, b`},
		{errors.New(`required flag(s) "out" not set`), `usage: this needs the flag "out"`},
		{errors.New(`invalid argument "x" for "-f, --follow" flag: strconv.ParseBool: parsing "x": invalid syntax`),
			`invalid argument "x" for "-f, --follow" flag`},
		{errors.New(`invalid argument "x" for "-w, --watch" flag: time: invalid duration "x"`),
			`invalid argument "x" for "-w, --watch" flag: no duration as 5s or 2m`},
		{errors.New("yaml: unmarshal errors: line 2: cannot unmarshal !!int `7` into map[string]*fleetfile.Region"),
			"line 2: `7` is not what belongs there"},
		{errors.New("line 3: field nods not found in type fleetfile.Region"), `line 3: unknown key "nods"`},
		{errors.New("what a node\nsays stays"), "what a node says stays"},
	} {
		if got, want := Text(asked(c.err)), "no snapshot saved: us-1:2379: "+c.want; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
