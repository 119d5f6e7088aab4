package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Operations that a benchmark can be made of.
const (
	Put             = "put"
	Get             = "get"              // linearizable
	GetSerializable = "get-serializable" // from whatever the node has
	Range           = "range"            // linearizable, RangeLimit keys
	Txn             = "txn"              // compare and put, or get
	Watch           = "watch"            // latency from the start of a put until its event arrived
	Page            = "page"             // linearizable, RangeLimit keys with a count of the rest
	PageOld         = "page-old"         // the same at a revision behind which all keys were written once more
	PagePrefix      = "page-prefix"      // linearizable, the hundred keys of a prefix
	Count           = "count"            // linearizable, of all keys
	KeepAlive       = "keep-alive"       // of a lease, each caller over a stream of his own
)

// Operations lists all of them in the order in which they are run by default.
var Operations = []string{
	Put, Get, GetSerializable, Range, Page, PageOld, PagePrefix, Count, Txn, Watch, KeepAlive,
}

// ErrOptions says that options make no sense.
var ErrOptions = errors.New("benchmark options")

// Side is one set of endpoints.
type Side struct {
	Name      string
	Endpoints []string
	TLS       *tls.Config
	// User and Password are who asks, where that matters; empty for nobody.
	User, Password string
	// Dial connects to an endpoint, where that is not done from this process's network; nil for the usual way.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Options of a run. All limits are per operation and round.
type Options struct {
	Sides       []Side // one, or two to compare
	Operations  []string
	Clients     int // concurrent callers
	Connections int // gRPC connections that they share
	KeySpace    int // different keys
	KeyBytes    int
	ValueBytes  int
	RangeLimit  int
	Rounds      int           // measurements of each operation on each side
	Duration    time.Duration // of one measurement; ignored if Total is set
	Total       int           // operations of one measurement
	Warmup      time.Duration // run before each measurement and not counted
	Timeout     time.Duration // of one operation
	Seed        uint64
	Progress    func(line string) // told of each measurement; may be nil
}

// DefaultOptions returns the defaults of everything but Sides.
func DefaultOptions() Options {
	return Options{
		Operations: []string{Put, Get, GetSerializable}, Clients: 100, Connections: 10,
		KeySpace: 10_000, KeyBytes: 16, ValueBytes: 256, RangeLimit: 100,
		Rounds: 1, Duration: 10 * time.Second, Warmup: time.Second, Timeout: 10 * time.Second, Seed: 1,
	}
}

const minKeyBytes = 8

// Validate returns ErrOptions with the refused value.
func (o *Options) Validate() error {
	if len(o.Sides) < 1 || len(o.Sides) > 2 {
		return fmt.Errorf("%w: %d sets of endpoints; want one or two", ErrOptions, len(o.Sides))
	}
	for _, s := range o.Sides {
		if len(s.Endpoints) == 0 {
			return fmt.Errorf("%w: no endpoints for %s", ErrOptions, s.Name)
		}
	}
	for _, op := range o.Operations {
		if !slices.Contains(Operations, op) {
			return fmt.Errorf("%w: unknown operation %q; there are %s", ErrOptions, op, strings.Join(Operations, ", "))
		}
	}
	for _, f := range []struct {
		name     string
		got, low int
	}{
		{"clients", o.Clients, 1}, {"connections", o.Connections, 1}, {"key space", o.KeySpace, 1},
		{"key size", o.KeyBytes, minKeyBytes}, {"value size", o.ValueBytes, 0}, {"range limit", o.RangeLimit, 1},
		{"rounds", o.Rounds, 1}, {"total", o.Total, 0},
	} {
		if f.got < f.low {
			return fmt.Errorf("%w: %s %d is less than %d", ErrOptions, f.name, f.got, f.low)
		}
	}
	if o.Total == 0 && o.Duration <= 0 {
		return fmt.Errorf("%w: neither a duration nor a total", ErrOptions)
	}
	return nil
}
