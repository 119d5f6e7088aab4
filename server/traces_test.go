package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/mimir-kv/mimir/server/tracing"
	"github.com/mimir-kv/mimir/server/tracing/tracingtest"
	"github.com/mimir-kv/mimir/server/trust"
)

// tracedFleet is two regions of one node each, us the primary, whose traces go to one collector.
type tracedFleet struct {
	*testing.T
	*tracingtest.Collector
	configs map[string]*Config
	logs    map[string]*logged
	stops   map[string]func() error
	clients map[string]*clientv3.Client
}

// newTracedFleet starts one. change may change what a node is told.
func newTracedFleet(t *testing.T, change func(region string, c *Config)) *tracedFleet {
	t.Helper()
	f := &tracedFleet{
		T: t, Collector: &tracingtest.Collector{}, configs: map[string]*Config{}, logs: map[string]*logged{},
		stops: map[string]func() error{}, clients: map[string]*clientv3.Client{},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Serve(l))
	for _, region := range []string{"us", "eu"} {
		c := testConfig(t, region+"-1")
		c.Replication.RegionID, c.Replication.InitialPrimary = region, "us"
		c.Tracing.Endpoint, c.Tracing.PerMillion = l.Addr().String(), 1_000_000
		f.configs[region], f.logs[region] = c, &logged{}
	}
	us, eu := f.configs["us"], f.configs["eu"]
	us.Replication.Regions = map[string][]string{"eu": {eu.Replication.PeerAddr}}
	eu.Replication.Regions = map[string][]string{"us": {us.Replication.PeerAddr}}
	for region, c := range f.configs {
		if change != nil {
			change(region, c)
		}
		f.stops[region] = runNodeWith(t, c, Options{LogTo: f.logs[region]})
		f.clients[region] = etcdClient(t, c, TLS{})
	}
	for region, client := range f.clients {
		eventually(t, region+" serves", func(ctx context.Context) bool {
			_, err := client.Get(ctx, "ready")
			return err == nil
		})
	}
	return f
}

// put puts at a region.
func (f *tracedFleet) put(ctx context.Context, region, key string) {
	f.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := f.clients[region].Put(ctx, key, "v"); err != nil {
		f.Errorf("put at %s: %v", region, err)
	}
}

// tree waits until the trace of the one request of that name, begun at a region, has all of want, and fails if it comes
// to be anything else.
func (f *tracedFleet) tree(region, name, want string) (trace string) {
	f.Helper()
	got := ""
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	for {
		spans := f.Spans()
		for _, s := range spans {
			if s.Name == name && s.Region == region {
				trace, got = s.Trace, tracingtest.Tree(spans, s.Trace, tracingtest.Span.Short)
			}
		}
		if got == want {
			return trace
		}
		select {
		case <-ctx.Done():
			f.Fatalf("the trace of %s is\n%swant\n%s", name, got, want)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

const (
	putName = "etcdserverpb.KV/Put"
	getName = "etcdserverpb.KV/Range"

	// putAtEU is the trace of a put that eu forwards to us.
	putAtEU = `eu server etcdserverpb.KV/Put
  eu internal mimir.write
    eu internal mimir.queue
    eu internal mimir.forward
      us server mimir.serve propose
        us internal mimir.write
          us internal mimir.queue
          us internal mimir.commit
`
	// getAtEU is that of a linearizable read.
	getAtEU = `eu server etcdserverpb.KV/Range
  eu internal mimir.read
    eu client mimir.ask position
      us server mimir.answer position
`
)

// A put at the secondary is one trace with the parts of both regions, each within the one that waits for it; a read
// too; and an order of an operator. Lines of the log and of the audit log name the trace.
func TestATraceHasSpansOfBothRegions(t *testing.T) {
	f := newTracedFleet(t, func(_ string, c *Config) { c.SlowRequest = 1 })
	f.Forget("")
	f.put(t.Context(), "eu", "secret-key")
	trace := f.tree("eu", putName, putAtEU)
	for _, s := range f.Spans() {
		if s.Trace != trace {
			continue
		}
		if s.Failed != "" || s.End < s.Begin {
			t.Errorf("%+v", s)
		}
		if strings.Contains(fmt.Sprint(s), "secret-key") {
			t.Errorf("a key is in a span: %+v", s)
		}
		if s.Name == "mimir.forward" && s.Attributes["mimir.to"] != f.configs["us"].Replication.PeerAddr {
			t.Errorf("forwarded to %q", s.Attributes["mimir.to"])
		}
		if s.Name == "mimir.commit" && s.Attributes["mimir.position"] == "" {
			t.Error("no position")
		}
	}
	line := regexp.MustCompile(`a request was slow.* method=/etcdserverpb.KV/Put .*trace_id=` + trace +
		` span_id=[0-9a-f]{16}`)
	eventually(t, "the log has a line with the trace", func(context.Context) bool {
		return line.MatchString(f.logs["eu"].String())
	})

	f.Forget("")
	if _, err := f.clients["eu"].Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	f.tree("eu", getName, getAtEU)

	f.Forget("")
	f.put(t.Context(), "us", "k")
	f.tree("us", putName, `us server etcdserverpb.KV/Put
  us internal mimir.write
    us internal mimir.queue
    us internal mimir.commit
`)

	f.Forget("")
	if _, err := adminClient(t, f.configs["eu"], TLS{}).Switchover(t.Context(), "eu"); err != nil {
		t.Fatal(err)
	}
	var order tracingtest.Span
	eventually(t, "the order is a span", func(context.Context) bool {
		for _, s := range f.Spans() {
			if s.Name == "POST /mimir/v1/switchover" && s.Region == "eu" {
				order = s
			}
		}
		return order.ID != ""
	})
	eventually(t, "the other region answered a question for it", func(context.Context) bool {
		tree := tracingtest.Tree(f.Spans(), order.Trace, tracingtest.Span.Short)
		return strings.Contains(tree, "us server mimir.answer move")
	})
	told := regexp.MustCompile(`op="POST /mimir/v1/switchover" outcome=done .*trace_id=` + order.Trace)
	if !told.MatchString(f.logs["eu"].String()) {
		t.Error("the audit log does not name the trace")
	}
}

// A node that has no collector takes part in no trace, and nothing else is different for the one that has.
func TestANodeWithoutACollectorHasNoSpans(t *testing.T) {
	f := newTracedFleet(t, func(region string, c *Config) {
		if region == "us" {
			c.Tracing.Endpoint = ""
		}
	})
	f.Forget("")
	f.put(t.Context(), "eu", "k")
	f.tree("eu", putName, `eu server etcdserverpb.KV/Put
  eu internal mimir.write
    eu internal mimir.queue
    eu internal mimir.forward
`)
	if body, err := getHTTP("http://"+f.configs["us"].ListenClient+"/metrics", nil); err != nil ||
		strings.Contains(body, "mimir_trace_") {
		t.Errorf("a node without a collector has its figures: %v", err)
	}
	for _, s := range f.Spans() {
		if s.Region != "eu" {
			t.Errorf("%+v", s)
		}
	}
}

// A client does not decide what is traced, unless the node says so.
func TestWhatAClientsTraceDecides(t *testing.T) {
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	said := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+theirs+"-00f067aa0ba902b7-01",
		"tracestate", "x="+strings.Repeat("y", 200))
	f := newTracedFleet(t, func(region string, c *Config) {
		c.Tracing.PerMillion, c.Tracing.FollowClients = 0, region == "us"
	})
	f.put(said, "eu", "unfollowed")
	f.put(t.Context(), "us", "nobody drew it")
	f.put(said, "us", "followed")
	eventually(t, "what is followed is told", func(context.Context) bool { return len(f.Spans()) >= 4 })
	for _, s := range f.Spans() {
		if s.Trace != theirs || s.Region != "us" {
			t.Errorf("%+v", s)
		}
		if s.Name == putName && s.Parent != "00f067aa0ba902b7" {
			t.Errorf("it is within %s", s.Parent)
		}
	}
	f.Forget("")
	request, err := http.NewRequest(http.MethodPost, "http://"+f.configs["us"].ListenClient+"/v3/kv/put",
		strings.NewReader(`{"key": "aw==", "value": "dg=="}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, answer.Body) //nolint:errcheck // the test sees what is missing
	answer.Body.Close()
	eventually(t, "a request of the JSON gateway is told", func(context.Context) bool {
		for _, s := range f.Spans() {
			if s.Name == putName && s.Trace == theirs {
				return true
			}
		}
		return false
	})
}

// A client that is not followed is a link of what was drawn.
func TestAClientsTraceIsALink(t *testing.T) {
	const theirs = "4bf92f3577b34da6a3ce929d0e0e4736"
	f := newTracedFleet(t, nil)
	f.Forget("")
	f.put(metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+theirs+"-00f067aa0ba902b7-00"), "eu", "k")
	trace := f.tree("eu", putName, putAtEU)
	for _, s := range f.Spans() {
		if s.Name == putName && (s.Trace != trace || len(s.Links) != 1 || s.Links[0] != theirs) {
			t.Errorf("%+v", s)
		}
	}
	if trace == theirs {
		t.Error("it is within the client's trace")
	}
}

// A collector that hangs, is away, and comes back: requests go on, what waits is bounded, the log has a line when it
// begins and one when it is over, figures say so, and the node stops in time.
func TestALostCollectorStopsNothing(t *testing.T) {
	f := newTracedFleet(t, func(_ string, c *Config) {
		c.Tracing.QueueSpans, c.Tracing.Timeout = 64, 200*time.Millisecond
	})
	goOn := f.Hang()
	fails := func(want bool) func(context.Context) bool {
		return func(context.Context) bool {
			f.put(t.Context(), "eu", "k")
			body, err := getHTTP("http://"+f.configs["eu"].ListenClient+"/metrics", nil)
			return err == nil && strings.Contains(body, "mimir_trace_collector_failing 1") == want
		}
	}
	eventually(t, "the figures say that it hangs", fails(true))
	leftOut := regexp.MustCompile(`mimir_trace_spans_total\{outcome="left_out"\} [1-9]`)
	eventually(t, "spans are left out", func(context.Context) bool {
		var clients sync.WaitGroup
		for range 64 { // at once: on a slow machine what waits is given up faster than one client writes
			clients.Go(func() { f.put(t.Context(), "eu", "k") })
		}
		clients.Wait()
		body, err := getHTTP("http://"+f.configs["eu"].ListenClient+"/metrics", nil)
		return err == nil && leftOut.MatchString(body)
	})
	goOn()
	eventually(t, "the figures say that it is back", fails(false))
	f.Hang()
	eventually(t, "it hangs again", fails(true))
	began := time.Now()
	if err := f.stops["eu"](); err != nil {
		t.Errorf("eu did not stop in good order: %v", err)
	}
	t.Logf("it stopped within %s", time.Since(began).Round(time.Millisecond))
	log := f.logs["eu"].String()
	for text, want := range map[string]int{
		"the collector takes no spans": 2, "the collector takes spans again": 1,
	} {
		if n := strings.Count(log, text); n != want {
			t.Errorf("%d lines %q, want %d", n, text, want)
		}
	}
}

// A collector is reached by TLS over both protocols, with what the settings name to show and to trust; one that
// somebody else signed is told nothing, and the node serves.
func TestSpansGoByTLS(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	me := ours.issue(t, "me")
	for _, c := range []struct {
		protocol string
		ca       string
		told     bool
	}{{tracing.GRPC, ours.file, true}, {tracing.HTTP, ours.file, true}, {tracing.GRPC, others.file, false},
		{tracing.HTTP, others.file, false}} {
		collector := &tracingtest.Collector{}
		secure, err := trust.New(trust.Options{}).Listener([]string{"h2", "http/1.1"}, TLS{
			Cert: me.Cert, Key: me.Key, CA: ours.file, RequireClientCert: true,
		}.block("collector"))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if c.protocol == tracing.GRPC {
			s := tracingtest.Over(collector, grpc.Creds(credentials.NewTLS(secure)))
			go s.Serve(l) //nolint:errcheck // ends with Stop
			t.Cleanup(s.Stop)
		} else {
			s := &http.Server{Handler: collector, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
			go s.Serve(tls.NewListener(l, secure)) //nolint:errcheck // ends with Close
			t.Cleanup(func() { s.Close() })
		}
		node, log := testConfig(t, "solo"), &logged{}
		node.Tracing.Endpoint, node.Tracing.Protocol, node.Tracing.PerMillion = l.Addr().String(), c.protocol, 1_000_000
		node.Tracing.Secure, node.Tracing.CA = true, c.ca
		node.Tracing.Cert, node.Tracing.Key, node.Tracing.Timeout = me.Cert, me.Key, 500*time.Millisecond
		stop := runNodeWith(t, node, Options{LogTo: log})
		client := etcdClient(t, node, TLS{})
		eventually(t, fmt.Sprintf("%+v", c), func(ctx context.Context) bool {
			client.Get(ctx, "k") //nolint:errcheck // the spans tell
			if c.told {
				return len(collector.Spans()) > 0
			}
			return strings.Contains(log.String(), "the collector takes no spans")
		})
		if n := len(collector.Spans()); !c.told && n > 0 {
			t.Errorf("%+v: %d spans came", c, n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}
