package tracingtest

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"

	collected "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	traced "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Span is one that the collector was told.
type Span struct {
	Trace, ID, Parent string // hexadecimal; Parent is empty at the top
	Name, Kind        string
	Region, Node      string // of the node that told
	Failed            string // with what; empty: it did not
	Attributes        map[string]string
	Links             []string // traces
	Begin, End        uint64   // nanoseconds
}

// Collector keeps what it is told. It is safe for concurrent use.
type Collector struct {
	collected.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans []Span
	hung  chan struct{} // nil: it answers
}

// Over returns a server of gRPC that tells c.
func Over(c *Collector, options ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(options...)
	collected.RegisterTraceServiceServer(s, c)
	return s
}

// Serve has c told over gRPC at l, until the returned function is called.
func (c *Collector) Serve(l net.Listener) (stop func()) {
	s := Over(c)
	go s.Serve(l) //nolint:errcheck // ends with Stop
	return s.Stop
}

// ServeHTTP implements http.Handler, for OTLP over HTTP.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collected.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, ": ", err), http.StatusBadRequest)
		return
	}
	if _, err := c.Export(r.Context(), &request); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// Hang has c answer nothing until the returned function is called.
func (c *Collector) Hang() (goOn func()) {
	hung := make(chan struct{})
	c.mu.Lock()
	c.hung = hung
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		c.hung = nil
		c.mu.Unlock()
		close(hung)
	}
}

// Export implements the service of OTLP.
func (c *Collector) Export(
	ctx context.Context, r *collected.ExportTraceServiceRequest,
) (*collected.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	hung := c.hung
	c.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.ResourceSpans {
		node := attributes(of.Resource.GetAttributes())
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, spanOf(s, node))
			}
		}
	}
	return &collected.ExportTraceServiceResponse{}, nil
}

func spanOf(s *traced.Span, node map[string]string) Span {
	span := Span{
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId),
		Parent: hex.EncodeToString(s.ParentSpanId), Name: s.Name,
		Kind:   strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")),
		Region: node["mimir.region"], Node: node["mimir.node"], Attributes: attributes(s.Attributes),
		Begin: s.StartTimeUnixNano, End: s.EndTimeUnixNano,
	}
	if s.Status.GetCode() == traced.Status_STATUS_CODE_ERROR {
		span.Failed = cmp.Or(s.Status.Message, "failed")
	}
	for _, l := range s.Links {
		span.Links = append(span.Links, hex.EncodeToString(l.TraceId))
	}
	return span
}

func attributes(list []*common.KeyValue) map[string]string {
	found := map[string]string{}
	for _, one := range list {
		switch v := one.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			found[one.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			found[one.Key] = fmt.Sprint(v.IntValue)
		}
	}
	return found
}

// Spans returns what c was told so far, in the order in which it began.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := slices.Clone(c.spans)
	slices.SortStableFunc(list, func(a, b Span) int { return cmp.Compare(a.Begin, b.Begin) })
	return list
}

// Forget has c forget a trace; all of them if none is named.
func (c *Collector) Forget(trace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = slices.DeleteFunc(c.spans, func(s Span) bool { return trace == "" || s.Trace == trace })
}

// Short is the line of a span in a tree.
func (s Span) Short() string { return s.Region + " " + s.Kind + " " + s.Name }

// Tree writes a trace as lines, a span a line below the one that it is within. What is within a span that is not there
// stands at the top.
func Tree(spans []Span, trace string, line func(Span) string) string {
	there := map[string]bool{}
	for _, s := range spans {
		there[s.ID] = true
	}
	var out strings.Builder
	var under func(parent string, depth int)
	under = func(parent string, depth int) {
		for _, s := range spans {
			top := parent == "" && !there[s.Parent]
			if s.Trace == trace && (s.Parent == parent || top) {
				fmt.Fprintf(&out, "%s%s\n", strings.Repeat("  ", depth), line(s))
				under(s.ID, depth+1)
			}
		}
	}
	under("", 0)
	return out.String()
}
