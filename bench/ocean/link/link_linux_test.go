package link

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Serve()
	os.Exit(m.Run())
}

// TestALinkOfThisMachine carries bytes between two namespaces, takes its time for it, is cut and healed, and leaves
// nothing behind.
func TestALinkOfThisMachine(t *testing.T) {
	const oneWay = 30 * time.Millisecond
	l, err := Open(Conditions{Delay: oneWay, Rate: 100_000_000, Queue: 1 << 20}, 1, []string{"10.79.1.1"},
		[]string{"10.79.2.1", "10.79.2.2"})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	echo(ctx, t, l.Far, "10.79.2.2:7000")
	began := time.Now()
	c, err := l.Near.Dial(ctx, "10.79.2.2:7000", "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if took := time.Since(began); took < 2*oneWay {
		t.Errorf("connected after %v, which is less than a round trip", took)
	}
	ask := func(text string) string {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, len(text))
		if _, err := io.ReadFull(c, answer); err != nil {
			return err.Error()
		}
		return string(answer)
	}
	if got := ask("hello"); got != "hello" {
		t.Fatal(got)
	}
	if err := l.Cut(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(4 * oneWay))
	if got := ask("lost!"); !strings.Contains(got, "timeout") {
		t.Fatalf("over a line that is cut: %q", got)
	}
	if err := l.Heal(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	answer := make([]byte, 5)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "lost!" {
		t.Fatalf("%q, %v", answer, err)
	}
	s, err := l.Stats()
	if err != nil || s.There.Packets == 0 || s.Back.Packets == 0 || s.There.Cut == 0 || s.There.Lost > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	alone(t, l.Near)
}

// alone shows that a namespace has its own device and the loopback, and that this process's namespace has neither.
func alone(t *testing.T, n *Namespace) {
	t.Helper()
	var said strings.Builder
	c := exec.Command("ip", "-o", "link")
	c.Stdout = &said
	if err := n.Start(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(said.String()) {
		if !strings.Contains(line, " lo:") && !strings.Contains(line, device+":") && !strings.Contains(line, "NONE") {
			t.Errorf("inside there is %s", line)
		}
	}
	if _, err := net.InterfaceByName(device); err == nil {
		t.Error("the device is outside, too")
	}
}

func echo(ctx context.Context, t *testing.T, n *Namespace, addr string) {
	t.Helper()
	l, err := n.Listen(ctx, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.Copy(c, c)
	}()
}
