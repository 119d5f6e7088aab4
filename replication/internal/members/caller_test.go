package members

import (
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/transport"
)

// What a node says of itself, and of its region, is taken from nobody whom the transport knows as another.
func TestWhoSpeaksForWhom(t *testing.T) {
	for _, test := range []struct {
		caller       transport.Caller
		self, region bool
	}{
		{transport.Caller{Region: "us", Node: "us-1"}, true, true},
		{transport.Caller{Region: "us", Node: "us-2"}, false, true},
		{transport.Caller{Region: "eu", Node: "us-1"}, false, false},
		{transport.Caller{}, true, true}, // a transport that does not tell
	} {
		ctx := transport.WithCaller(t.Context(), test.caller)
		if err := bySelf(ctx, RaftID("us", "us-1"), "us-1"); (err == nil) != test.self ||
			err != nil && !errors.Is(err, contract.ErrRejected) {
			t.Errorf("%+v as us-1: %v", test.caller, err)
		}
		if err := peer.MaySpeak(ctx, "us"); (err == nil) != test.region ||
			err != nil && !errors.Is(err, contract.ErrRejected) {
			t.Errorf("%+v for us: %v", test.caller, err)
		}
	}
}
