package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/tracing"
)

// Tracing says which requests are traced, and who is told.
type Tracing struct {
	// Endpoint is host:port of a collector; empty: there are no traces.
	Endpoint string
	// Protocol is that of package tracing.
	Protocol string
	// Secure says that it is reached by TLS, with the files of a [TLS]: without CA the machine's authorities are
	// trusted.
	Secure        bool
	Cert, Key, CA string
	// PerMillion is how many of a million requests are drawn, if FollowClients does not say that the client decides.
	PerMillion    int
	FollowClients bool
	// Service and Instance are the node's names there; no Instance: region/name.
	Service, Instance string
	QueueSpans        int
	Timeout           time.Duration
}

// files are those that secure connections to the collector.
func (t *Tracing) files() TLS { return TLS{Cert: t.Cert, Key: t.Key, CA: t.CA} }

const (
	defaultPerMillion = 10_000
	defaultQueueSpans = 4096
	// collectorTime is how long a node that stops waits for its collector at most.
	collectorTime = 2 * time.Second
)

var tracingSettings = []setting{
	text("tracing.endpoint", "",
		"`host:port` of a collector of OpenTelemetry, which is told of requests over their whole way, on the nodes of "+
			"all regions ([tracing.md](tracing.md)); there are no traces if not set",
		func(c *Config) *string { return &c.Tracing.Endpoint }),
	text("tracing.protocol", tracing.GRPC, "how it is told: `grpc`, OTLP over gRPC, or `http`, OTLP over HTTP",
		func(c *Config) *string { return &c.Tracing.Protocol }),
	yesOrNo("tracing.tls", "reach it by TLS", func(c *Config) *bool { return &c.Tracing.Secure }),
	text("tracing.ca", "", "PEM file: authorities trusted to sign the collector's certificate; the machine's if not "+
		"set; needs `tracing.tls`, as the next two do",
		func(c *Config) *string { return &c.Tracing.CA }),
	text("tracing.cert", "", "PEM file: certificate to show to it", func(c *Config) *string { return &c.Tracing.Cert }),
	text("tracing.key", "", "PEM file: its key", func(c *Config) *string { return &c.Tracing.Key }),
	count("tracing.samples-per-million", defaultPerMillion, 0, 1_000_000,
		"how many of a million requests are drawn and traced; a request is drawn by the node that a client asks, and "+
			"all nodes on its way follow",
		func(c *Config) *int { return &c.Tracing.PerMillion }),
	yesOrNo("tracing.follow-clients",
		"a client's traceparent (W3C) decides whether a request of it is traced, within the client's trace, whatever "+
			"`tracing.samples-per-million`, as with etcd; that is then for those that have none. Else it is a link of "+
			"the request's span, if that is drawn. Whoever may send requests can have each of them traced with it",
		func(c *Config) *bool { return &c.Tracing.FollowClients }),
	text("tracing.service-name", "mimir", "name of the service in traces",
		func(c *Config) *string { return &c.Tracing.Service }),
	text("tracing.instance-id", "", "name of this node in traces; region/name if not set",
		func(c *Config) *string { return &c.Tracing.Instance }),
	count("tracing.queue-spans", defaultQueueSpans, 64, 1<<20,
		"most spans that wait to be told, about 2 KiB each; others are left out, and counted",
		func(c *Config) *int { return &c.Tracing.QueueSpans }),
	duration("tracing.timeout", 10*time.Second, 100*time.Millisecond, time.Minute,
		"how long the collector has to take what it is told; no request waits for it",
		func(c *Config) *time.Duration { return &c.Tracing.Timeout }),
}

func (c *Config) validateTracing(f *faults) {
	t, files := &c.Tracing, c.Tracing.files()
	if t.Endpoint != "" {
		if err := checkAddress(t.Endpoint, true); err != nil {
			f.add("tracing.endpoint %q: %w", t.Endpoint, err)
		}
	}
	if t.Protocol != tracing.GRPC && t.Protocol != tracing.HTTP {
		f.add("tracing.protocol %q: use %s or %s", t.Protocol, tracing.GRPC, tracing.HTTP)
	}
	if files.Enabled() && !t.Secure {
		f.add("tracing.ca, tracing.cert and tracing.key need tracing.tls")
	}
	if err := files.validate(false); err != nil {
		f.add("tracing: %w", err)
	}
}

// newTracing opens the link to the collector, if there is one.
func (c *Config) newTracing(secure *secured, version string, logger *slog.Logger) (*tracing.Tracing, error) {
	t, r := c.Tracing, &c.Replication
	if t.Instance == "" {
		t.Instance = r.RegionID + "/" + r.NodeID
	}
	o := tracing.Options{
		Endpoint: t.Endpoint, Protocol: t.Protocol, PerMillion: t.PerMillion, FollowClients: t.FollowClients,
		QueueSpans: t.QueueSpans, Timeout: t.Timeout, Service: t.Service, Instance: t.Instance, Fleet: r.FleetID,
		Region: r.RegionID, Node: r.NodeID, Version: version, Remote: operator.Remote, Logger: logger,
	}
	if t.Endpoint != "" && t.Secure {
		o.Credentials, o.TLS = secure.toCollector()
	}
	made, err := tracing.New(o)
	if err != nil {
		return nil, fmt.Errorf("%w: tracing: %w", ErrConfig, err)
	}
	return made, nil
}

// toCollector returns what secures connections to the collector, as its files are at that moment.
func (s *secured) toCollector() (credentials.TransportCredentials, func() *tls.Config) {
	if s.collector != nil {
		return s.collector, s.collector.Config
	}
	machine := &tls.Config{MinVersion: tls.VersionTLS12}
	return credentials.NewTLS(machine), func() *tls.Config { return machine }
}

// guarding returns what stands before handlers over HTTP. What operators have done is traced, like requests over gRPC.
func guarding(gate *operator.Gate, t *tracing.Tracing) func(pattern string, h http.Handler) http.Handler {
	return func(pattern string, h http.Handler) http.Handler {
		guarded := gate.HTTP(pattern, h)
		if call, _ := operator.Of(pattern); call.Right == operator.Operator && !call.Reads {
			return t.HTTP(pattern, guarded)
		}
		return guarded
	}
}

// endTracing tells the collector what is left to be told, if it takes that in time.
func endTracing(t *tracing.Tracing, within time.Duration, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), min(collectorTime, within))
	defer cancel()
	if err := t.Close(ctx); err != nil {
		logger.Warn("the last spans did not come to the collector", "err", err)
	}
}
