package tracing

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	grpccodes "google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// lasting are streams that end when their clients go: they are no request that takes some time.
var lasting = []string{"/Watch", "/LeaseKeepAlive", "/Observe"}

// errCut says that a request ended without saying how.
var errCut = errors.New("cut short")

// Unary returns the interceptor of a gRPC server that stands before next.
func (t *Tracing) Unary(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	if t == nil {
		return next
	}
	return func(
		ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
	) (answer any, err error) {
		ctx, span := t.request(ctx, info.FullMethod)
		if span == nil {
			return next(ctx, request, info, handle)
		}
		ended := errCut
		defer func() { answered(span, ended) }()
		answer, ended = next(ctx, request, info, handle)
		return answer, ended
	}
}

// Stream returns the interceptor of a gRPC server that stands before next, likewise: but for streams that last as long
// as their clients.
func (t *Tracing) Stream(next grpc.StreamServerInterceptor) grpc.StreamServerInterceptor {
	if t == nil {
		return next
	}
	return func(service any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		for _, name := range lasting {
			if strings.HasSuffix(info.FullMethod, name) {
				return next(service, s, info, handle)
			}
		}
		ctx, span := t.request(s.Context(), info.FullMethod)
		if span == nil {
			return next(service, s, info, handle)
		}
		ended := errCut
		defer func() { answered(span, ended) }()
		ended = next(service, &tracedCall{s, ctx}, info, handle)
		return ended
	}
}

// tracedCall is a stream of a client in a trace.
type tracedCall struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *tracedCall) Context() context.Context { return s.ctx }

// request begins the span of a client's request, if it is drawn; else the span is nil.
func (t *Tracing) request(ctx context.Context, method string) (context.Context, trace.Span) {
	said, _ := ctx.Value(saidKey{}).(string)
	if list := metadata.ValueFromIncomingContext(ctx, traceparent); len(list) > 0 {
		said = list[0]
	}
	ctx, span := t.begin(ctx, strings.TrimPrefix(method, "/"), said)
	if span == nil {
		return ctx, nil
	}
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	span.SetAttributes(attribute.String("rpc.system", "grpc"), attribute.String("rpc.service", service),
		attribute.String("rpc.method", name))
	return ctx, span
}

// begin begins the span of a request whose client says that it is in a trace, or in none.
func (t *Tracing) begin(ctx context.Context, name, said string) (context.Context, trace.Span) {
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	if client := parse(said); client.IsValid() && !trace.SpanContextFromContext(ctx).IsValid() {
		if t.follow {
			ctx = trace.ContextWithRemoteSpanContext(ctx, client)
		} else {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: client}))
		}
	}
	inside, span := t.tracer.Start(ctx, name, options...)
	if !span.IsRecording() {
		return ctx, nil
	}
	if t.remote != nil {
		if from := t.remote(ctx); from != "" {
			span.SetAttributes(attribute.String("client.address", told(from)))
		}
	}
	return within(inside, span), span
}

// answered ends the span of a request by what the client is told.
func answered(span trace.Span, err error) {
	code := status.Code(err)
	span.SetAttributes(attribute.Int64("rpc.grpc.status_code", int64(code)))
	if code == grpccodes.OK {
		err = nil
	}
	end(span, err)
}

// HTTP returns h with a span for each request of the pattern that is drawn.
func (t *Tracing) HTTP(pattern string, h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.begin(r.Context(), pattern, r.Header.Get(traceparent))
		if span == nil {
			h.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		ended := errCut
		defer func() { end(span, ended) }()
		answer := &coded{ResponseWriter: w, code: http.StatusOK}
		h.ServeHTTP(answer, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", answer.code))
		if ended = nil; answer.code >= http.StatusBadRequest {
			ended = errors.New(http.StatusText(answer.code))
		}
	})
}

type saidKey struct{}

// Gateway returns h, which makes requests over gRPC of those over HTTP, with what the client says of its trace.
func (t *Tracing) Gateway(h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if said := r.Header.Get(traceparent); said != "" {
			r = r.WithContext(context.WithValue(r.Context(), saidKey{}, said))
		}
		h.ServeHTTP(w, r)
	})
}

// coded remembers how a request was answered.
type coded struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (c *coded) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (c *coded) Unwrap() http.ResponseWriter { return c.ResponseWriter }
