package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketsCoverEverything(t *testing.T) {
	last := -1
	for _, v := range []uint64{
		0, 1, 63, 64, 127, 128, 129, 130, 255, 256, 1000, 1 << 20, 1<<20 + 1<<14, 1 << 62, 1<<63 - 1, 1<<64 - 1,
	} {
		i := bucket(v)
		if i < last || i >= len(Histogram{}.counts) {
			t.Fatalf("bucket(%d) = %d after %d", v, i, last)
		}
		last = i
		if u := upper(i); u < v || float64(u-v) > float64(v)/(1<<subBits) {
			t.Errorf("upper(bucket(%d)) = %d", v, u)
		}
	}
}

func TestQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	parts := make([]Histogram, 4)
	for i := range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
		all = append(all, d)
		parts[i%len(parts)].Add(d)
	}
	var h Histogram
	for i := range parts {
		h.Merge(&parts[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		exact := all[int(q*float64(len(all))+0.5)-1]
		if got := h.Quantile(q); got < exact || float64(got-exact) > float64(exact)/60+1 {
			t.Errorf("quantile %v: got %s, exactly %s", q, got, exact)
		}
	}
	if h.Count() != 10_000 || h.Quantile(1) != all[len(all)-1] {
		t.Errorf("count %d, maximum %s", h.Count(), h.Quantile(1))
	}
}

func TestSummary(t *testing.T) {
	r := Report{Measurements: []Measurement{
		{Side: "a", Operation: Put, PerSecond: 30, P50: 3}, {Side: "b", Operation: Put, PerSecond: 5, P50: 9},
		{Side: "a", Operation: Put, PerSecond: 10, P50: 1},
		{Side: "b", Operation: Put, PerSecond: 10, P50: 7, Errors: 2},
		{Side: "a", Operation: Put, PerSecond: 20, P50: 2}, {Side: "b", Operation: Put, PerSecond: 15, P50: 8},
	}}
	r.Summarize("a", "b")
	s := r.Summary[0]
	if s.A.PerSecond != 20 || s.A.P50 != 2 || s.B.PerSecond != 10 || s.B.Errors != 2 || s.Ratio != 2 {
		t.Errorf("got %+v", s)
	}
}
