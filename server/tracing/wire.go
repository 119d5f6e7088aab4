package tracing

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/mimir-kv/mimir/replication/transport"
)

// Transport returns w with a span for each question to another node that is asked for a request that is drawn, and one
// on the other node for whatever is done there for such a request.
func (t *Tracing) Transport(w transport.Transport) transport.Transport {
	if t == nil {
		return w
	}
	return &wire{w, t}
}

type wire struct {
	transport.Transport
	tracing *Tracing
}

// questions is the service that carries one question and its answer, whatever the version.
const questions = "call/"

// Open implements transport.Transport.
func (w *wire) Open(ctx context.Context, addr, service string) (transport.Stream, error) {
	if !strings.HasPrefix(service, questions) {
		return w.Transport.Open(ctx, addr, service)
	}
	inside, drawn := parent(ctx, false)
	if !drawn {
		return w.Transport.Open(ctx, addr, service)
	}
	inside, span := w.tracing.tracer.Start(inside, "mimir.ask", trace.WithSpanKind(trace.SpanKindClient))
	note(span, "to", addr)
	s, err := w.Transport.Open(within(inside, span), addr, service)
	if err != nil {
		end(span, err)
		return nil, err
	}
	return &asked{Stream: s, span: span}, nil
}

// Serve implements transport.Transport.
func (w *wire) Serve(services map[string]transport.Handler) error {
	all := map[string]transport.Handler{}
	for name, h := range services {
		all[name] = w.serving(name, h)
	}
	return w.Transport.Serve(all)
}

func (w *wire) serving(service string, h transport.Handler) transport.Handler {
	name, _, _ := strings.Cut(service, "/")
	return func(ctx context.Context, s transport.Stream) error {
		inside, drawn := parent(ctx, true)
		if !drawn {
			return h(ctx, s)
		}
		inside, span := w.tracing.tracer.Start(inside, "mimir.serve "+name, trace.WithSpanKind(trace.SpanKindServer))
		if c, known := transport.CallerOf(ctx); known {
			note(span, "from.region", c.Region)
			note(span, "from.node", c.Node)
		}
		if strings.HasPrefix(service, questions) {
			s = &answering{Stream: s, span: span}
		}
		err := h(within(inside, span), s)
		if ctx.Err() != nil {
			err = nil // it was ended by who opened it
		}
		end(span, err)
		return err
	}
}

// asked is a stream of one question, of whoever asks.
type asked struct {
	transport.Stream
	span trace.Span
	once sync.Once
}

// Send implements transport.Stream.
func (s *asked) Send(p []byte) error {
	name(s.span, "mimir.ask ", p)
	err := s.Stream.Send(p)
	if err != nil {
		s.once.Do(func() { end(s.span, err) })
	}
	return err
}

// Recv implements transport.Stream.
func (s *asked) Recv() ([]byte, error) {
	p, err := s.Stream.Recv()
	s.once.Do(func() { end(s.span, err) })
	return p, err
}

// Leaving is for transport.Leaving.
func (s *asked) Leaving() <-chan struct{} { return transport.Leaving(s.Stream) }

// answering is a stream of one question, of whoever answers.
type answering struct {
	transport.Stream
	span trace.Span
}

// Recv implements transport.Stream.
func (s *answering) Recv() ([]byte, error) {
	p, err := s.Stream.Recv()
	if err == nil {
		name(s.span, "mimir.answer ", p)
	}
	return p, err
}

// maxName bounds the name of a question.
const maxName = 32

// name calls a span by the question that a message is.
func name(span trace.Span, prefix string, message []byte) {
	var question struct {
		Op string `json:"op"`
	}
	if json.Unmarshal(message, &question) == nil && question.Op != "" && len(question.Op) <= maxName {
		span.SetName(prefix + question.Op)
	}
}
