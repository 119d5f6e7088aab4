// Package tracingtest is a collector of OpenTelemetry for tests: it keeps the spans that it is told, over gRPC or HTTP,
// and can be made to hang. It keeps none of the numbered invariants.
package tracingtest
