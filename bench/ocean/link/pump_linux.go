package link

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// state is what moves the packets of a direction.
type state struct {
	from, to int // TUN devices
	wake     int // an eventfd that ends it
	ended    chan error
}

// Open makes two namespaces and the line between them. Addresses of each end are those of nearAddrs and farAddrs, in
// one network of 16 bits. Which packets are lost is said by seed.
func Open(c Conditions, seed uint64, nearAddrs, farAddrs []string) (l *Link, err error) {
	if err := available(); err != nil {
		return nil, err
	}
	l = &Link{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.Near, err = openNamespace(nearAddrs, farAddrs); err != nil {
		return l, err
	}
	if l.Far, err = openNamespace(farAddrs, nearAddrs); err != nil {
		return l, err
	}
	if l.there, err = openDirection(newQueue(c, seed), l.Near.tun, l.Far.tun); err != nil {
		return l, err
	}
	l.back, err = openDirection(newQueue(c, seed+1), l.Far.tun, l.Near.tun)
	return l, err
}

// Close ends the line. The namespaces end with what was begun in them.
func (l *Link) Close() (err error) {
	for _, d := range []*direction{l.there, l.back} {
		if d != nil {
			err = errors.Join(err, d.close())
		}
	}
	for _, n := range []*Namespace{l.Near, l.Far} {
		if n != nil {
			err = errors.Join(err, n.close())
		}
	}
	return err
}

func openDirection(q *queue, from, to int) (*direction, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an event: %w", err)
	}
	d := &direction{queue: q, state: state{from: from, to: to, wake: wake, ended: make(chan error, 1)}}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread has a priority that no other goroutine shall have
		// Before all other threads, where that is allowed: a line that waits for a processor is a longer one.
		_ = unix.SchedSetAttr(0, &unix.SchedAttr{
			Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1,
		}, 0)
		d.ended <- d.run()
	}()
	return d, nil
}

func (d *direction) close() error {
	if _, err := unix.Write(d.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return fmt.Errorf("end a line: %w", err)
	}
	err := <-d.ended
	return errors.Join(err, unix.Close(d.wake))
}

// run moves packets until it is woken to end.
func (d *direction) run() error {
	room := make([]byte, MTU)
	for {
		poll := []unix.PollFd{{Fd: int32(d.from), Events: unix.POLLIN}, {Fd: int32(d.wake), Events: unix.POLLIN}}
		if _, err := unix.Ppoll(poll, d.patience(), nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for a packet: %w", err)
		}
		if poll[1].Revents != 0 {
			return nil
		}
		if err := d.read(room); err != nil {
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
		return nil
	}
	t := unix.NsecToTimespec(int64(max(0, time.Until(due))))
	return &t
}

// mostAtOnce is how many packets are read before those that are due are looked at.
const mostAtOnce = 64

// read takes what the device has.
func (d *direction) read(room []byte) error {
	for range mostAtOnce {
		n, err := unix.Read(d.from, room)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
			return nil
		case err != nil:
			return fmt.Errorf("read from a TUN device: %w", err)
		}
		if n < 20 || room[0]>>4 != 4 || !net.IP(room[16:20]).IsGlobalUnicast() {
			continue
		}
		data := append([]byte(nil), room[:n]...)
		d.mutex.Lock()
		d.queue.arrive(time.Now(), data)
		d.mutex.Unlock()
	}
	return nil
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
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("write to a TUN device: %w", err)
		}
	}
}
