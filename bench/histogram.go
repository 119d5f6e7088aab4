package bench

import (
	"math/bits"
	"time"
)

// subBits is the precision of a Histogram: values are kept to one part in 2^subBits.
const subBits = 6

// Histogram counts durations in buckets whose width grows with the value: the error of a quantile is under 1.6 %.
// The zero value is empty. It is not safe for concurrent use: each worker keeps its own, and they are merged.
type Histogram struct {
	counts [(64 - subBits + 1) << subBits]uint32
	total  uint64
	sum    time.Duration
	max    time.Duration
}

// bucket returns the index of v: values below 2^subBits exactly, larger ones by their leading bits.
func bucket(v uint64) int {
	shift := bits.Len64(v) - subBits - 1
	if shift <= 0 {
		return int(v)
	}
	return shift<<subBits + int(v>>shift)
}

// upper returns the largest value of a bucket.
func upper(index int) uint64 {
	if index < 2<<subBits {
		return uint64(index)
	}
	shift := index>>subBits - 1
	return uint64(index-shift<<subBits+1)<<shift - 1
}

// Add counts one duration.
func (h *Histogram) Add(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

// Merge adds everything counted by other.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// Count returns how many durations were added.
func (h *Histogram) Count() uint64 { return h.total }

// Mean returns the average, 0 if empty.
func (h *Histogram) Mean() time.Duration {
	if h.total == 0 {
		return 0
	}
	return h.sum / time.Duration(h.total)
}

// Quantile returns the value that the fraction q, between 0 and 1, of all durations does not exceed.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := max(uint64(q*float64(h.total)+0.5), 1)
	seen := uint64(0)
	for i, n := range h.counts {
		if seen += uint64(n); seen >= rank {
			return min(time.Duration(upper(i)), h.max)
		}
	}
	return h.max
}
