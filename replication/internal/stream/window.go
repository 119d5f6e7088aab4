package stream

import "github.com/mimir-kv/mimir/replication/timeline"

// sent is a batch on its way.
type sent struct {
	at    timeline.Cursor // after it
	first uint64          // log index of its first entry
	cost  int64           // what it takes of the window
}

// window is what is on its way and not acknowledged, oldest first. Both sides count the same: the sizes of plain
// bodies. It is not safe for concurrent use.
type window struct {
	limit   int64
	batches []sent
	bytes   int64
}

// fits reports whether a batch may be sent: there is room, or nothing else is on its way.
func (w *window) fits(cost int64) bool { return w.bytes == 0 || w.bytes+cost <= w.limit }

func (w *window) push(b sent) {
	w.batches = append(w.batches, b)
	w.bytes += b.cost
}

// release forgets what at covers.
func (w *window) release(at ack) {
	n := 0
	for n < len(w.batches) && at.covers(w.batches[n].at) {
		w.bytes -= w.batches[n].cost
		n++
	}
	w.batches = append(w.batches[:0], w.batches[n:]...)
}

// covers reports whether everything up to c is acknowledged. The epoch decides where a reign moved no position.
func (a ack) covers(c timeline.Cursor) bool {
	return a.position > c.Position || a.position == c.Position && a.epoch >= c.Epoch
}

// bodyBytes returns the size of the plain body of a batch.
func bodyBytes(payloads [][]byte) int64 {
	size := int64(0)
	for _, p := range payloads {
		size += 4 + int64(len(p))
	}
	return size
}
