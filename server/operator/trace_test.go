package operator

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// A line of the audit log says to which trace a call belongs, whether it was let in or refused; none of a call in none.
func TestTheAuditLogNamesTheTrace(t *testing.T) {
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0x4b}, SpanID: trace.SpanID{0xf0}, TraceFlags: trace.FlagsSampled,
	}))
	const names = "trace_id=4b000000000000000000000000000000 span_id=f000000000000000"
	for _, links := range [][]Link{nil, {&Certificates{AllowedCN: []string{"ops"}}}} {
		var log bytes.Buffer
		audit, err := OpenAudit(AuditOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		gate, call := NewGate(audit, links...), &Call{Right: Operator}
		o, err := gate.begin(ctx, "move", call, &Caller{Remote: "10.0.0.1:1"}, nil)
		if (err != nil) != (links != nil) {
			t.Fatal(err)
		}
		if err == nil {
			o.end(nil)
		}
		if !strings.Contains(log.String(), names) {
			t.Errorf("no trace in %s", &log)
		}
		log.Reset()
		if o, err = gate.begin(t.Context(), "move", call, &Caller{Remote: "10.0.0.2:1"}, nil); err == nil {
			o.end(nil)
		}
		if log.Len() == 0 || strings.Contains(log.String(), "trace_id") {
			t.Errorf("a call in no trace: %s", &log)
		}
		audit.Close()
	}
}
