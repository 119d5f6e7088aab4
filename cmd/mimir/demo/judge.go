package demo

import (
	"fmt"
	"slices"
	"time"
)

// stretch is what the clients that write saw of some time.
type stretch struct {
	acknowledged int
	unknown      int           // writes that failed: whether they were done is not known
	median, p99  time.Duration // from when it was sent to its acknowledgement
	silence      time.Duration // the longest time in which no write was acknowledged
}

// put is a write that was tried, each of a key of its own.
type put struct {
	key            string
	sent, answered time.Time
	revision       int64 // 0: it failed, and its outcome is not known
}

// sumUp sums up what was answered from one moment to another. The silence is looked for among what was acknowledged,
// from the last before the first moment on.
func sumUp(puts []put, from, to time.Time) (s stretch) {
	var took []time.Duration
	var acknowledged []time.Time
	last := from
	for _, p := range puts {
		switch {
		case p.answered.After(to):
		case p.revision == 0 && !p.answered.Before(from):
			s.unknown++
		case p.revision == 0:
		case p.answered.Before(from):
			if last.Equal(from) || p.answered.After(last) {
				last = p.answered
			}
		default:
			took = append(took, p.answered.Sub(p.sent))
			acknowledged = append(acknowledged, p.answered)
		}
	}
	slices.SortFunc(acknowledged, time.Time.Compare)
	for _, at := range append(acknowledged, to) {
		s.silence = max(s.silence, at.Sub(last))
		last = at
	}
	s.acknowledged = len(took)
	if len(took) > 0 {
		slices.Sort(took)
		s.median, s.p99 = took[len(took)/2], took[(len(took)-1)*99/100]
	}
	return s
}

// event is one that the watcher saw.
type event struct {
	key      string
	revision int64
}

// verdict compares what clients were told with what there is at the end.
type verdict struct {
	acknowledged int // writes, in all
	unknown      int // writes whose outcome was not told
	kept         int // acknowledged ones in the history
	rescued      int // acknowledged ones that are not, and are in the rescue file of the region that was lost
	lost         int // acknowledged ones that are nowhere
	tail         int // writes in the rescue file

	events  int // that the watcher saw
	undone  int // of those, of writes that the failover cut off
	missed  int // writes of the history that it did not see
	twice   int // events that it saw again, or behind a later one
	resumed int // how often it was told from which revision to go on
}

// judge makes a verdict of the writes that were tried, the keys of the history and of the rescue file with the revision
// at which each was written (in the rescue file: any), and of the events that were seen.
func judge(puts []put, history map[string]int64, tail map[string]bool, seen []event) (v verdict) {
	v.tail = len(tail)
	for _, p := range puts {
		at, there := history[p.key]
		switch {
		case p.revision == 0:
			v.unknown++
			continue
		case there && at == p.revision:
			v.kept++
		case tail[p.key]:
			v.rescued++
		default:
			v.lost++
		}
		v.acknowledged++
	}
	v.events = len(seen)
	saw, last := map[event]bool{}, int64(0)
	for _, e := range seen {
		if saw[e] || e.revision < last {
			v.twice++
		}
		saw[e], last = true, max(last, e.revision)
		if history[e.key] != e.revision {
			v.undone++
		}
	}
	for key, at := range history {
		if !saw[event{key, at}] {
			v.missed++
		}
	}
	return v
}

// err says what is not as it is promised.
func (v *verdict) err() error {
	switch {
	case v.lost > 0:
		return fmt.Errorf("%d acknowledged writes are neither in the history nor in the rescue file", v.lost)
	case v.missed > 0 || v.twice > 0:
		return fmt.Errorf("the watcher missed %d writes, and saw %d events again or out of order", v.missed, v.twice)
	}
	return nil
}
