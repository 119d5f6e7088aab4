//go:build unix

package address

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func listen(t *testing.T, block bool, texts ...string) net.Listener {
	t.Helper()
	list, err := ParseList(strings.Join(texts, ","))
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(list, list, block)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// socket returns a short path: that of the test's own directory may be too long.
func socket(t *testing.T) string {
	dir, err := os.MkdirTemp("", "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// Nothing is set on what is accepted: most of it may be nobody's.
func TestNothingIsSetOnStrangers(t *testing.T) {
	l := listen(t, false, "127.0.0.1:0")
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	raw, err := in.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if on, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); err != nil || on != 0 {
			t.Errorf("keep-alive is %d, %v", on, err)
		}
	})
}

// All addresses of a list come to one listener, and a connection says whether it is to be secured (A2).
func TestListenAtSeveral(t *testing.T) {
	path := socket(t)
	l := listen(t, true, "127.0.0.1:0", "unix://"+path)
	for _, test := range []struct {
		network, addr string
		plain         bool
	}{{"tcp", l.Addr().String(), false}, {"unix", path, true}} {
		c, err := net.Dial(test.network, test.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer accepted.Close()
		if _, plain := accepted.(plainConn); plain != test.plain {
			t.Errorf("%s: plaintext %t", test.network, plain)
		}
	}
	l.Close()
	if _, err := l.Accept(); err != net.ErrClosed {
		t.Errorf("closed: %v", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// A socket that a process left is replaced, one in use is not, and a file is nobody's to take away (A4).
func TestSocketsThatAreThere(t *testing.T) {
	path := socket(t)
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	a := []Address{{"unix", path}}
	if _, err := Listen(a, a, false); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("in use: %v", err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Fatalf("nothing is left: %v", err)
	}
	listen(t, false, "unix://"+path).Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(a, a, false); err == nil || !strings.Contains(err.Error(), "there is a file") {
		t.Errorf("a file: %v", err)
	}
}

// Why a socket cannot be bound anew is said as it is (A4).
func TestWhoHasASocket(t *testing.T) {
	for err, want := range map[error]string{
		nil: "in use by another process", syscall.EAGAIN: "in use by another process",
		syscall.EACCES: "cannot be found out: permission denied", syscall.ECONNREFUSED: "", syscall.ENOENT: "",
	} {
		if got := occupied(err); (got == nil) != (want == "") || got != nil && !strings.Contains(got.Error(), want) {
			t.Errorf("%v: %v, want %q", err, got, want)
		}
	}
}

// A wildcard of one family leaves the other to whoever names it beside it (A3).
func TestBothFamilies(t *testing.T) {
	probe, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here")
	}
	_, port, _ := net.SplitHostPort(probe.Addr().String())
	probe.Close()
	for _, list := range [][]string{
		{"0.0.0.0:" + port, "[::]:" + port}, {"0.0.0.0:" + port, "[::1]:" + port},
		{"127.0.0.1:" + port, "[::]:" + port},
	} {
		l := listen(t, false, list...)
		for _, host := range []string{"127.0.0.1", "::1"} {
			c, err := net.Dial("tcp", net.JoinHostPort(host, port))
			if err != nil {
				t.Errorf("%v: %v", list, err)
				continue
			}
			c.Close()
		}
		l.Close()
	}
}
