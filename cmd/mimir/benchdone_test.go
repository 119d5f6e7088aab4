package main

import (
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/bench"
)

// A measurement of nothing but errors is none, and the exit status says so.
func TestABenchOfErrorsHasFailed(t *testing.T) {
	some := bench.Measurement{Side: "A", Operation: "get", Done: 1, Errors: 7, Error: "unavailable"}
	none := bench.Measurement{Side: "A", Operation: "put", Errors: 7, Error: "no space"}
	err := nothingDone(&bench.Report{Measurements: []bench.Measurement{some, none}})
	if err == nil || !strings.Contains(err.Error(), "put: no operation was done, and 7 failed: no space") {
		t.Errorf("all failed: %v", err)
	}
	if err := nothingDone(&bench.Report{Measurements: []bench.Measurement{some, {Side: "A"}}}); err != nil {
		t.Errorf("some failed: %v", err)
	}
}
