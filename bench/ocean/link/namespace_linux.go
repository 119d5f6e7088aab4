package link

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Namespace is one end of a Link.
type Namespace struct {
	Addrs []string
	tun   *os.File
	file  *os.File    // of the namespace
	work  chan func() // done by the thread that is in it, which begins its processes: they die with that thread
}

const (
	tunPath = "/dev/net/tun"
	device  = "ocean0"
)

// available says what is missing.
func available() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: it needs root", ErrUnavailable)
	}
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%w: open %s: %w", ErrUnavailable, tunPath, err)
	}
	defer unix.Close(fd)
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("%w: the command ip, of iproute2: %w", ErrUnavailable, err)
	}
	return nil
}

// openNamespace makes a namespace with addresses on a device of its own, behind which others are.
func openNamespace(addrs, others []string) (*Namespace, error) {
	n := &Namespace{Addrs: addrs, work: make(chan func())}
	opened := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		err := n.enter()
		if opened <- err; err != nil {
			return
		}
		for do := range n.work {
			do()
		}
	}()
	if err := <-opened; err != nil {
		return nil, err
	}
	lines := [][]string{{"link", "set", "lo", "up"}}
	for _, a := range addrs {
		lines = append(lines, []string{"addr", "add", a + "/32", "dev", device})
	}
	lines = append(lines, []string{"link", "set", device, "up", "mtu", fmt.Sprint(MTU), "txqueuelen", "10000"})
	for _, a := range others {
		lines = append(lines, []string{"route", "add", a + "/32", "dev", device, "src", addrs[0]})
	}
	for _, line := range lines {
		if err := n.ip(line...); err != nil {
			n.close()
			return nil, err
		}
	}
	return n, nil
}

// enter makes the namespace and its device, on the thread that stays in it.
func (n *Namespace) enter() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("%w: make a network namespace: %w", ErrUnavailable, err)
	}
	if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("open a network namespace: %w", err)
	}
	fd, err := openTUN(device)
	if err != nil {
		n.file.Close()
		return err
	}
	n.tun = os.NewFile(uintptr(fd), tunPath)
	return nil
}

// openTUN makes a device that is gone when it is closed.
func openTUN(name string) (fd int, err error) {
	if fd, err = unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("%w: open %s: %w", ErrUnavailable, tunPath, err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(request)))
		if errno != 0 {
			err = errno
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("%w: make a TUN device: %w", ErrUnavailable, err)
	}
	return fd, nil
}

func (n *Namespace) close() error {
	close(n.work)
	n.file.Close()
	if err := n.tun.Close(); err != nil {
		return fmt.Errorf("close a TUN device: %w", err)
	}
	return nil
}

func (n *Namespace) ip(arguments ...string) error {
	var said strings.Builder
	c := exec.Command("ip", arguments...)
	c.Stdout, c.Stderr = &said, &said
	err := n.Start(c)
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(said.String()))
	}
	return nil
}

// Start starts a process inside. It dies with this one.
func (n *Namespace) Start(c *exec.Cmd) error {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	n.work <- func() { started <- c.Start() }
	return <-started
}

// within does something on a thread that is inside, and that ends afterwards.
func (n *Namespace) within(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

// Dial connects from inside to an IP address, with a congestion control of the system's names or "" for its default.
func (n *Namespace) Dial(ctx context.Context, addr, congestion string) (c net.Conn, err error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return congest(raw, congestion) }}
	err = n.within(func() (err error) {
		c, err = d.DialContext(ctx, "tcp4", addr)
		return err
	})
	return c, err
}

// Listen listens inside.
func (n *Namespace) Listen(ctx context.Context, addr string) (l net.Listener, err error) {
	err = n.within(func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp4", addr)
		return err
	})
	return l, err
}

func congest(raw syscall.RawConn, name string) (err error) {
	if name == "" {
		return nil
	}
	controlled := raw.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt TCP_CONGESTION",
			unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
	})
	if controlled != nil {
		return controlled
	}
	return err
}
