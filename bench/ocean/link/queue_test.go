package link

import (
	"testing"
	"time"
)

var start = time.Unix(1_000_000, 0)

// at offers n packets of 1000 bytes each at one moment, and returns when those that are delivered are due.
func at(q *queue, n int) (due []time.Duration) {
	for range n {
		q.arrive(start, make([]byte, 1000))
	}
	for {
		next, ok := q.next()
		if !ok {
			return due
		}
		if _, early := q.take(next.Add(-1)); early {
			return nil
		}
		p, _ := q.take(next)
		due = append(due, p.due.Sub(start))
	}
}

// TestPacketsLeaveByTheRateAndArriveBehindTheDelay, and what waits beyond the queue is dropped.
func TestPacketsLeaveByTheRateAndArriveBehindTheDelay(t *testing.T) {
	q := newQueue(Conditions{Delay: 40 * time.Millisecond, Rate: 8_000_000, Queue: 3000}, 1)
	due := at(q, 5)
	if len(due) != 3 || q.counts.Full != 2 || q.counts.Packets != 3 || q.counts.Bytes != 3000 {
		t.Fatalf("%v, %+v", due, q.counts)
	}
	for i, d := range due {
		if want := 40*time.Millisecond + time.Duration(i+1)*time.Millisecond; d != want {
			t.Errorf("packet %d is due after %v, want %v", i, d, want)
		}
	}
	// A millisecond on, there is room for one more.
	q.arrive(start.Add(time.Millisecond), make([]byte, 1000))
	q.arrive(start.Add(time.Millisecond), make([]byte, 1000))
	if due, _ := q.next(); q.counts.Full != 3 || due.Sub(start) != 44*time.Millisecond {
		t.Errorf("%v, %+v", due.Sub(start), q.counts)
	}
}

func TestWithoutARateNothingWaits(t *testing.T) {
	due := at(newQueue(Conditions{Delay: time.Millisecond}, 1), 10)
	if len(due) != 10 || due[9] != time.Millisecond {
		t.Error(due)
	}
}

// TestLossIsThatOfTheSeed: about as many as asked for, and the same ones again.
func TestLossIsThatOfTheSeed(t *testing.T) {
	lost := func(seed uint64) (pattern string, n int64) {
		q := newQueue(Conditions{Loss: 0.01}, seed)
		for range 20_000 {
			before := q.counts.Lost
			q.arrive(start, nil)
			pattern += string(rune('0' + q.counts.Lost - before))
		}
		return pattern, q.counts.Lost
	}
	first, n := lost(7)
	if again, _ := lost(7); again != first {
		t.Error("the same seed loses others")
	}
	if other, _ := lost(8); other == first {
		t.Error("another seed loses the same")
	}
	if n < 150 || n > 250 {
		t.Errorf("%d of 20000 were lost, want about 200", n)
	}
}

// TestACutDropsWhatIsOnItsWay, and what comes until it is healed.
func TestACutDropsWhatIsOnItsWay(t *testing.T) {
	q := newQueue(Conditions{Delay: time.Second}, 1)
	q.arrive(start, []byte{1})
	q.sever(true)
	q.arrive(start, []byte{2})
	q.sever(false)
	q.arrive(start, []byte{3})
	p, ok := q.take(start.Add(time.Second))
	if _, more := q.next(); !ok || p.data[0] != 3 || more || q.counts.Cut != 2 {
		t.Errorf("%v %v, %v, %+v", p, ok, more, q.counts)
	}
}
