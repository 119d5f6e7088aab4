package link

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mimir-kv/mimir/bench"
)

// direction moves the packets of one half of the line.
type direction struct {
	from, to int // TUN devices
	mutex    sync.Mutex
	queue    *queue
	late     bench.Histogram // how much later than due packets were delivered
	free     [][]byte        // of the one thread that runs it
}

func newDirection(q *queue, from, to int) *direction { return &direction{queue: q, from: from, to: to} }

func stats(there, back *direction) (s Stats) {
	var late bench.Histogram
	for d, counts := range map[*direction]*Counts{there: &s.There, back: &s.Back} {
		d.mutex.Lock()
		*counts = d.queue.counts
		late.Merge(&d.late)
		d.mutex.Unlock()
	}
	s.LateP99 = late.Quantile(0.99)
	return s
}

// run moves packets for as long as it can.
func (d *direction) run() error {
	runtime.LockOSThread() // never unlocked: the thread has a priority that no other goroutine shall have
	// Before all other threads, where that is allowed: a line that waits for a processor is a longer one.
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	poll := []unix.PollFd{{Fd: int32(d.from), Events: unix.POLLIN}}
	for {
		if _, err := unix.Ppoll(poll, d.patience(), nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for a packet: %w", err)
		}
		// A thread that ran for each packet would be held back by the kernel, for 50 ms at a time.
		gather := unix.NsecToTimespec(int64(tick))
		if err := unix.Nanosleep(&gather, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for more packets: %w", err)
		}
		if err := d.read(); err != nil {
			return err
		}
		if err := d.deliver(); err != nil {
			return err
		}
	}
}

// patience is how long there is nothing to deliver, nil for ever.
func (d *direction) patience() *unix.Timespec {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	due, ok := d.queue.next()
	if !ok {
		// A change of the line may need no packet, and nothing is woken by it.
		return nil
	}
	t := unix.NsecToTimespec(int64(max(0, time.Until(due))))
	return &t
}

// tick is how long packets are gathered: each may come as much later than it should.
const tick = 250 * time.Microsecond

// mostAtOnce is how many packets are read before those that are due are looked at.
const mostAtOnce = 512

// read takes what the device has.
func (d *direction) read() error {
	for range mostAtOnce {
		room := d.room()
		n, err := unix.Read(d.from, room)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			d.free = append(d.free, room)
			return nil
		case err != nil:
			return fmt.Errorf("read from a TUN device: %w", err)
		}
		kept := false
		if n >= 20 && room[0]>>4 == 4 && net.IP(room[16:20]).IsGlobalUnicast() {
			d.mutex.Lock()
			kept = d.queue.arrive(time.Now(), room[:n])
			d.mutex.Unlock()
		}
		if !kept {
			d.free = append(d.free, room)
		}
	}
	return nil
}

// room is that for a packet: nothing is left to be collected.
func (d *direction) room() []byte {
	n := len(d.free)
	if n == 0 {
		return make([]byte, MTU)
	}
	room := d.free[n-1]
	d.free = d.free[:n-1]
	return room
}

// deliver writes what is due.
func (d *direction) deliver() error {
	for {
		now := time.Now()
		d.mutex.Lock()
		p, ok := d.queue.take(now)
		if ok {
			d.late.Add(now.Sub(p.due))
		}
		d.mutex.Unlock()
		if !ok {
			return nil
		}
		// What the receiving kernel has no room for is lost, as on any line.
		_, err := unix.Write(d.to, p.data)
		d.free = append(d.free, p.data[:MTU])
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("write to a TUN device: %w", err)
		}
	}
}
