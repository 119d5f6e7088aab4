package telemetry

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Kind is the type of a metric.
type Kind string

// Kinds.
const (
	Gauge     Kind = "gauge"
	Counter   Kind = "counter"
	Histogram Kind = "histogram"
)

// Figure is a metric as it is exported, and as the reference tells of it.
type Figure struct {
	Name   string
	Kind   Kind
	Help   string
	Labels []string

	desc *prometheus.Desc
}

// declared has all figures of the process: it is complete before main begins.
var declared []*Figure

// Declare declares a metric. It is called while packages are initialized, once for a name.
func Declare(kind Kind, name, help string, labels ...string) *Figure {
	f := &Figure{name, kind, help, labels, prometheus.NewDesc(name, help, labels, nil)}
	declared = append(declared, f)
	return f
}

// Declared returns all figures by name.
func Declared() []*Figure {
	return slices.SortedFunc(slices.Values(declared), func(a, b *Figure) int { return strings.Compare(a.Name, b.Name) })
}

// Set sends a value of a gauge or a counter.
func (f *Figure) Set(out chan<- prometheus.Metric, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if f.Kind == Counter {
		kind = prometheus.CounterValue
	}
	out <- prometheus.MustNewConstMetric(f.desc, kind, v, labels...)
}

// SetTruth sends 1 for true and 0 for false.
func (f *Figure) SetTruth(out chan<- prometheus.Metric, v bool, labels ...string) {
	if v {
		f.Set(out, 1, labels...)
	} else {
		f.Set(out, 0, labels...)
	}
}

// histogram returns one with these values of its labels.
func (f *Figure) histogram(buckets []float64, values ...string) prometheus.Histogram {
	labels := prometheus.Labels{}
	for i, name := range f.Labels {
		labels[name] = values[i]
	}
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: f.Name, Help: f.Help, ConstLabels: labels, Buckets: buckets,
	})
}

// Unchecked is the Describe of a collector whose series come and go.
type Unchecked struct{}

// Describe sends nothing.
func (Unchecked) Describe(chan<- *prometheus.Desc) {}
