package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wide is a wide-area network between sites of this machine. Each site is a network namespace of its own that ends
// with the last process in it; what goes from one to another passes this process, which delays each packet, and drops
// those of a direction that is cut. The process itself is in a namespace in which there is nothing else (see apart),
// and reaches all sites at once, as somebody does who is at each of them.
type wide struct {
	delay time.Duration // one way
	sites []*site       // the first is that of this process
	cuts  [maxSites][maxSites]atomic.Bool
	ended chan struct{}
	loops sync.WaitGroup
}

type site struct {
	name      string
	device    *os.File
	namespace *os.File // nil: that of this process
	lanes     []chan packet
}

// packet is on its way.
type packet struct {
	due  time.Time
	data []byte
}

const (
	maxSites    = 8
	packetBytes = 9000
	laneLimit   = 1 << 14 // packets on their way from one site to another; more are dropped
	// subnet is 10.231.0.0/16: 10.231.S.N is address N of site S.
	subnet = "10.231"
)

// tools are the programs without which there is no such network.
var tools = []string{"ip", "nsenter"}

// cannotBeWide says why this machine does not allow it, "" if it does.
func cannotBeWide() string {
	if os.Getuid() != 0 {
		return "namespaces need root"
	}
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			return err.Error()
		}
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	f.Close()
	return ""
}

// inside says to a process of this test that it runs in a namespace of its own, and where the program to test is.
const inside = "E2E_INSIDE"

// apart runs this test again in a process with a network namespace of its own, and returns true when that has ended;
// false: this is that process. What ends this one ends that.
func apart(t *testing.T, binary string) bool {
	if os.Getenv(inside) != "" {
		return false
	}
	runtime.LockOSThread() // the other process dies with this thread
	defer runtime.UnlockOSThread()
	c := exec.Command(os.Args[0], append(os.Args[1:], "-test.run", "^"+t.Name()+"$", "-test.v")...)
	c.Env = append(os.Environ(), inside+"="+binary)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	told := make(chan os.Signal, 1)
	signal.Notify(told, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(told)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	for {
		select {
		case s := <-told:
			c.Process.Signal(s)
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return true
		}
	}
}

// newWide makes a network between sites.
func newWide(delay time.Duration, names []string) (w *wide, err error) {
	w = &wide{delay: delay, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for i, name := range append([]string{""}, names...) {
		s := &site{name: name}
		w.sites = append(w.sites, s)
		if err := s.open(i); err != nil {
			return w, fmt.Errorf("site %q: %w", name, err)
		}
	}
	for i, s := range w.sites {
		for j := range w.sites {
			lane := make(chan packet, laneLimit)
			s.lanes = append(s.lanes, lane)
			w.loops.Go(func() { w.carry(lane, i, j) })
		}
	}
	for i := range w.sites {
		w.loops.Go(func() { w.collect(i) })
	}
	return w, nil
}

// open makes the namespace and its device.
func (s *site) open(number int) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this, whatever namespace it is in
		done <- s.enter(number)
	}()
	return <-done
}

func (s *site) enter(number int) (err error) {
	if number > 0 {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a namespace: %w", err)
		}
		if s.namespace, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
			return err
		}
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq("wide0")
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("make a device: %w", err)
	}
	s.device = os.NewFile(uintptr(fd), "wide0")
	commands := []string{"link set lo up", fmt.Sprintf("link set wide0 mtu %d up", packetBytes)}
	for n := 1; n <= 9; n++ {
		commands = append(commands, fmt.Sprintf("addr add %s.%d.%d/32 dev wide0", subnet, number, n))
	}
	commands = append(commands, fmt.Sprintf("route add %s.0.0/16 dev wide0 src %s.%d.1", subnet, subnet, number))
	for _, line := range commands {
		if text, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, text)
		}
	}
	return nil
}

// collect takes what leaves a site.
func (w *wide) collect(from int) {
	buffer := make([]byte, packetBytes)
	for {
		n, err := w.sites[from].device.Read(buffer)
		if err != nil {
			return
		}
		to := int(buffer[18])
		if n < 20 || buffer[0]>>4 != 4 || binary.BigEndian.Uint16(buffer[16:]) != 10<<8|231 || to >= len(w.sites) {
			continue // not of this network: IPv6 asks for neighbours
		}
		p := packet{time.Now(), append([]byte(nil), buffer[:n]...)}
		if from != 0 && to != 0 {
			p.due = p.due.Add(w.delay)
		}
		select {
		case w.sites[from].lanes[to] <- p:
		default:
		}
	}
}

// carry delivers what is on its way from one site to another.
func (w *wide) carry(lane chan packet, from, to int) {
	for {
		select {
		case p := <-lane:
			time.Sleep(time.Until(p.due))
			if !w.cuts[from][to].Load() {
				w.sites[to].device.Write(p.data)
			}
		case <-w.ended:
			return
		}
	}
}

func (w *wide) number(name string) int {
	for i, s := range w.sites {
		if s.name == name {
			return i
		}
	}
	panic("no site " + name)
}

// address is where node n of a site is, from 1 to 9.
func (w *wide) address(name string, n, port int) string {
	return fmt.Sprintf("%s.%d.%d:%d", subnet, w.number(name), n, port)
}

// at is what runs a program at a site: it becomes the program, which keeps its process id.
func (w *wide) at(name string) []string {
	file := w.sites[w.number(name)].namespace
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), file.Fd())}
}

// cut drops what goes from one site to another, and what is on its way.
func (w *wide) cut(from, to string) error {
	w.cuts[w.number(from)][w.number(to)].Store(true)
	return nil
}

// heal undoes all cuts.
func (w *wide) heal() {
	for i := range w.cuts {
		for j := range w.cuts[i] {
			w.cuts[i][j].Store(false)
		}
	}
}

func (w *wide) close() error {
	close(w.ended)
	var all []error
	for _, s := range w.sites {
		if s.device != nil {
			all = append(all, s.device.Close())
		}
		if s.namespace != nil {
			all = append(all, s.namespace.Close())
		}
	}
	w.loops.Wait()
	return errors.Join(all...)
}
