package deploy

import (
	"context"
	"errors"
	"io"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// every is how often nodes are scraped, in the histories of these tests.
const every = 15 * time.Second

var language = parser.NewParser(parser.Options{})

var engine = promql.NewEngine(promql.EngineOpts{
	MaxSamples: 10_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: language,
	EnableAtModifier: true, EnableNegativeOffset: true,
	NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
})

// point is a value at a time, in milliseconds.
type point struct {
	t int64
	v float64
}

func (p point) T() int64                      { return p.t }
func (p point) ST() int64                     { return 0 }
func (p point) F() float64                    { return p.v }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return nil }
func (p point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample           { return p }

// history is what a Prometheus would have kept: the samples of each series, in the order of time.
type history struct {
	series map[string]*kept
}

type kept struct {
	labels labels.Labels
	points []chunks.Sample
}

func newHistory() *history { return &history{map[string]*kept{}} }

func (h *history) add(l labels.Labels, at time.Time, v float64) {
	k := h.series[l.String()]
	if k == nil {
		k = &kept{labels: l}
		h.series[l.String()] = k
	}
	k.points = append(k.points, point{at.UnixMilli(), v})
}

// sample is one line of a page of metrics, with the labels of who was scraped.
type sample struct {
	labels labels.Labels
	value  float64
}

// parsePage reads a page of metrics; the labels of the target win, as a scrape has it.
func parsePage(page string, target map[string]string) (samples []sample, err error) {
	p := textparse.NewPromParser([]byte(page), labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return append(samples, sample{withTarget(labels.FromStrings("__name__", "up"), target), 1}), nil
		}
		if err != nil {
			return nil, err
		}
		if entry == textparse.EntrySeries {
			var l labels.Labels
			p.Labels(&l)
			_, _, v := p.Series()
			samples = append(samples, sample{withTarget(l, target), v})
		}
	}
}

func withTarget(l labels.Labels, target map[string]string) labels.Labels {
	b := labels.NewBuilder(l)
	for name, value := range target {
		if own := l.Get(name); own != "" {
			b.Set("exported_"+name, own)
		}
		b.Set(name, value)
	}
	return b.Labels()
}

// value is the result of an expression at a time: the number of each series by its labels.
func (h *history) value(t *testing.T, expression string, at time.Time) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, s := range h.samples(t, expression, at) {
		out[s.Metric.String()] = s.F
	}
	return out
}

// samples is the result of an expression at a time.
func (h *history) samples(t *testing.T, expression string, at time.Time) (list []promql.Sample) {
	t.Helper()
	q, err := engine.NewInstantQuery(t.Context(), h, nil, expression, at)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	defer q.Close()
	r := q.Exec(t.Context())
	if r.Err != nil {
		t.Fatalf("%s: %v", expression, r.Err)
	}
	switch v := r.Value.(type) {
	case promql.Vector:
		list = slices.Clone(v)
	case promql.Scalar:
		list = []promql.Sample{{T: v.T, F: v.V}}
	default:
		t.Fatalf("%s is a %s", expression, v.Type())
	}
	return list
}

// names returns the metrics that an expression reads.
func names(t *testing.T, expression string) (list []string) {
	t.Helper()
	tree, err := language.ParseExpr(expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			list = append(list, s.Name)
		}
		return nil
	})
	return list
}

// Querier lets the engine read the history.
func (h *history) Querier(from, to int64) (storage.Querier, error) { return &querier{h, from, to}, nil }

type querier struct {
	h        *history
	from, to int64
}

func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, m ...*labels.Matcher) storage.SeriesSet {
	var list []*kept
	for _, k := range q.h.series {
		if selects(m, k.labels) {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b *kept) int { return labels.Compare(a.labels, b.labels) })
	s := &found{at: -1}
	for _, k := range list {
		first := sort.Search(len(k.points), func(i int) bool { return k.points[i].T() >= q.from })
		after := sort.Search(len(k.points), func(i int) bool { return k.points[i].T() > q.to })
		if first < after {
			s.list = append(s.list, storage.NewListSeries(k.labels, k.points[first:after]))
		}
	}
	return s
}

func selects(m []*labels.Matcher, l labels.Labels) bool {
	return !slices.ContainsFunc(m, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) })
}

func (q *querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string,
	annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

func (q *querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string,
	annotations.Annotations, error) {
	return nil, nil, errors.ErrUnsupported
}

func (q *querier) Close() error { return nil }

// found is the series that a selection found, in the order of their labels.
type found struct {
	list []storage.Series
	at   int
}

func (f *found) Next() bool                        { f.at++; return f.at < len(f.list) }
func (f *found) At() storage.Series                { return f.list[f.at] }
func (f *found) Err() error                        { return nil }
func (f *found) Warnings() annotations.Annotations { return nil }

// isOwn reports whether a metric is one that Mimir documents, and not one of Prometheus or of the process.
func isOwn(name string) bool { return strings.HasPrefix(name, "mimir_") }
