package telemetry

import (
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/version"
)

var build = Declare(Gauge, "mimir_build_info",
	"1, with what runs here: its version, the commit it was built of if that is known, Go's, and the version of etcd "+
		"whose API is spoken.", "version", "revision", "goversion", "etcd_api")

// Build tells what runs here.
type Build struct {
	Unchecked
	Version string
}

// Collect implements prometheus.Collector.
func (b Build) Collect(out chan<- prometheus.Metric) {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	build.Set(out, 1, b.Version, revision, runtime.Version(), version.Version)
}
