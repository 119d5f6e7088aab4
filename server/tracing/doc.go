// Package tracing tells a collector of OpenTelemetry where the time of requests goes: of those that are drawn, a span
// for the request and one for each part of its way, on every node that it takes, also of other regions.
//
// It promises:
//
//   - W1: a node without a collector has none of it: its interceptors, handlers, transport and logger are those that it
//     would have without this package, and its library has no Tracer.
//   - W2: no request waits for the collector, whether that is slow, hangs or is away. What waits to be exported is
//     bounded in spans, and a span in what it holds; what does not fit is left out, and counted.
//   - W3: a collector that does not take spans is told of in the log once when that begins and once when it is over.
//   - W4: which requests are drawn is the node's own choice, by its ratio, unless Options.FollowClients says that a
//     client's traceparent decides. Other nodes of the fleet are always followed: they were let in.
//   - W5: keys and values are in no span.
//
// Between nodes the trace travels as W3C's traceparent in the metadata of a stream (transport.WithTraceparent), of
// requests that are drawn alone. A node that knows nothing of it, or has no collector, takes no notice.
//
// It leaves to its neighbours what a write consists of (propose in the library), and the files of TLS (trust). It keeps
// none of the numbered invariants.
package tracing
