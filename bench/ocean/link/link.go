package link

import (
	"errors"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// ErrUnavailable says that this machine, or who runs this, cannot have a Link; the text says what is missing.
var ErrUnavailable = errors.New("a link between network namespaces is not to be had here")

// MTU is the size of the largest packet.
const MTU = 1500

// Link is two namespaces and the line between them. Its methods are safe for concurrent use.
type Link struct {
	Near, Far *Namespace
	there     *direction // from Near to Far
	back      *direction
}

// direction is one half of the line.
type direction struct {
	mutex sync.Mutex
	queue *queue
	late  bench.Histogram // how much later than due packets were delivered
	state
}

// Stats are both directions since the link was opened.
type Stats struct {
	There, Back Counts
	// LateP99 is how late packets were delivered beside when they were due: far above a millisecond, what was
	// measured is not the line alone but the machine, too.
	LateP99 time.Duration
}

// Cut drops everything in both directions from now on, what is on its way included.
func (l *Link) Cut() { l.sever(true) }

// Heal undoes Cut.
func (l *Link) Heal() { l.sever(false) }

func (l *Link) sever(cut bool) {
	for _, d := range []*direction{l.there, l.back} {
		d.mutex.Lock()
		d.queue.sever(cut)
		d.mutex.Unlock()
	}
}

// Set changes both directions, for packets that come from now on.
func (l *Link) Set(c Conditions) {
	for _, d := range []*direction{l.there, l.back} {
		d.mutex.Lock()
		d.queue.Conditions = c
		d.mutex.Unlock()
	}
}

// Stats returns what was counted so far.
func (l *Link) Stats() Stats {
	var s Stats
	var late bench.Histogram
	for d, counts := range map[*direction]*Counts{l.there: &s.There, l.back: &s.Back} {
		d.mutex.Lock()
		*counts = d.queue.counts
		late.Merge(&d.late)
		d.mutex.Unlock()
	}
	s.LateP99 = late.Quantile(0.99)
	return s
}
