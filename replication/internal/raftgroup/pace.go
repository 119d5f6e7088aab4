package raftgroup

import (
	"math/bits"
	"time"
)

// A disk is slow by its last paceSamples samples: if each of the last paceRow was slow, or if it was slow half the time
// wherever one looks, that is in paceHalf of each pacePart in a row of all of them.
//
// It is not enough that half of all of them were: of a disk a third of whose syncs is slow at random that is so in
// one of 234 windows. By the above such a disk is called slow with a probability of 0.6 % in a million windows, and
// one of which a quarter is, of 0.0003 %. One of which every second is called slow after paceSamples, and one of which
// 60 % are at random after 800 on average (TestHowOftenADiskIsCalledSlow).
const (
	paceSamples = 64
	paceRow     = 20
	pacePart    = 6
	paceHalf    = pacePart / 2
)

// pace is what the last samples say of a disk. What is older than the last paceSamples, or older than its caller
// remembers, is forgotten.
type pace struct {
	samples []timing // the oldest first
	was     uint64   // a bit for each sample, the last one lowest, and others above: 1 if it was slow
}

// timing is how one sample went.
type timing struct {
	at     time.Time
	slow   bool
	before []uint64 // of a slow one: who had it before this disk had
}

// note adds a sample, and forgets those from before since.
func (p *pace) note(t timing, since time.Time) {
	p.samples = append(p.samples, t)
	old := max(0, len(p.samples)-paceSamples)
	for old < len(p.samples)-1 && p.samples[old].at.Before(since) {
		old++
	}
	p.samples = p.samples[old:]
	p.was <<= 1
	if t.slow {
		p.was |= 1
	}
}

func (p *pace) forget() { *p = pace{} }

// slow reports whether the disk is.
func (p *pace) slow() bool {
	n := len(p.samples)
	if min(n, bits.TrailingZeros64(^p.was)) >= paceRow {
		return true
	}
	if n < paceSamples {
		return false
	}
	for i := range n - pacePart + 1 {
		if bits.OnesCount64(p.was>>i&(1<<pacePart-1)) < paceHalf {
			return false
		}
	}
	return true
}

// ahead returns how many of the slow samples a member had before this disk had them: one whose own disk is slow as well
// has few.
func (p *pace) ahead(id uint64) (n int) {
	for _, t := range p.samples {
		for _, b := range t.before {
			if b == id {
				n++
			}
		}
	}
	return n
}
