package link

import (
	"math/rand/v2"
	"time"
)

// Conditions are those of one direction.
type Conditions struct {
	Delay time.Duration `json:"delayNanos"` // one way
	Loss  float64       `json:"loss"`       // the part of all packets that is lost
	Rate  int64         `json:"bitsPerSecond"`
	Queue int           `json:"queueBytes"` // that wait for the rate; what comes beyond is dropped
}

// Counts are what a direction did with packets.
type Counts struct {
	Packets int64 `json:"packets"` // delivered
	Bytes   int64 `json:"bytes"`   // of them
	Lost    int64 `json:"lost"`    // by Loss
	Full    int64 `json:"full"`    // by Queue
	Cut     int64 `json:"cut"`     // by a cut, those on their way included
}

// packet is on its way.
type packet struct {
	data []byte
	due  time.Time
}

// queue decides what happens to the packets of one direction. It has no clock of its own, and is not safe for
// concurrent use.
type queue struct {
	Conditions
	random *rand.Rand
	cut    bool
	sent   time.Time // when the last packet has left by the rate
	way    []packet  // in order
	counts Counts
}

func newQueue(c Conditions, seed uint64) *queue {
	return &queue{Conditions: c, random: rand.New(rand.NewPCG(seed, seed))}
}

// arrive takes a packet and keeps it, or drops it.
func (q *queue) arrive(now time.Time, data []byte) (kept bool) {
	if q.cut {
		q.counts.Cut++
		return false
	}
	if q.sent.Before(now) {
		q.sent = now
	}
	if q.Rate > 0 {
		waits := int64(q.sent.Sub(now)) * q.Rate / (8 * int64(time.Second))
		if waits+int64(len(data)) > int64(q.Queue) {
			q.counts.Full++
			return false
		}
		q.sent = q.sent.Add(time.Duration(int64(len(data)) * 8 * int64(time.Second) / q.Rate))
	}
	if q.random.Float64() < q.Loss { // behind the rate: it took its place on the line
		q.counts.Lost++
		return false
	}
	q.way = append(q.way, packet{data, q.sent.Add(q.Delay)})
	return true
}

// next is when the next packet is due, ok false if none is on its way.
func (q *queue) next() (due time.Time, ok bool) {
	if len(q.way) == 0 {
		return time.Time{}, false
	}
	return q.way[0].due, true
}

// take returns the next packet if it is due.
func (q *queue) take(now time.Time) (p packet, ok bool) {
	if len(q.way) == 0 || q.way[0].due.After(now) {
		return packet{}, false
	}
	p = q.way[0]
	q.way[0].data = nil
	q.way = q.way[1:]
	q.counts.Packets++
	q.counts.Bytes += int64(len(p.data))
	return p, true
}

// sever cuts the line or heals it. What is on its way is lost with a cut.
func (q *queue) sever(cut bool) {
	if q.cut = cut; cut {
		q.counts.Cut += int64(len(q.way))
		q.way, q.sent = nil, time.Time{}
	}
}
