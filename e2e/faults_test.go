package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// target is the node that a fault is about.
type target struct{ n *localfleet.Node }

func (target) cannot(*campaign) string { return "" }

// draw chooses a node: of the region of the campaign, half of the time its leader.
func (v *target) draw(ctx context.Context, c *campaign) (err error) {
	if c.rng.IntN(2) == 0 {
		v.n, err = c.leader(ctx, c.region)
		return err
	}
	v.n = c.region.Nodes[c.rng.IntN(len(c.region.Nodes))]
	return nil
}

func (v *target) String() string { return v.n.Config.Name }

// awaitNode waits until a node is healthy.
func (c *campaign) awaitNode(ctx context.Context, n *localfleet.Node) error {
	return c.await(ctx, n.Config.Name+" serves", func(ctx context.Context) string {
		switch node, err := ask(ctx, n); {
		case err != nil:
			return err.Error() + "; last words: " + n.LastWords()
		case !node.Healthy:
			return node.Problem
		}
		return ""
	})
}

// standstill stops a process for a while.
type standstill struct{ target }

func (*standstill) cannot(*campaign) string {
	if runtime.GOOS == "windows" {
		return "processes cannot be stopped here"
	}
	return ""
}

func (s *standstill) strike(ctx context.Context, c *campaign) (string, error) {
	if err := s.draw(ctx, c); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v stood still", s), suspend(s.n.PID())
}

func (s *standstill) mend(context.Context, *campaign) error { return resume(s.n.PID()) }

// kill ends a process at once and starts it again.
type kill struct{ target }

func (k *kill) strike(ctx context.Context, c *campaign) (string, error) {
	if err := k.draw(ctx, c); err != nil {
		return "", err
	}
	k.n.Kill()
	return fmt.Sprintf("%v was killed", k), nil
}

func (k *kill) mend(context.Context, *campaign) error { return k.n.Start() }

// cut silences the links between the regions.
type cut struct{ target }

func (*cut) strike(_ context.Context, c *campaign) (string, error) {
	c.fleet.Cut(regionNames[0], regionNames[1])
	return "the links were cut", nil
}

func (*cut) mend(_ context.Context, c *campaign) error {
	c.fleet.Heal(regionNames[0], regionNames[1])
	return nil
}

// syncDelay is how long each sync of a slow disk takes.
const syncDelay = 5 * time.Second

// slowDisk lets the syncs of a process hang.
type slowDisk struct {
	target
	tracer *exec.Cmd
}

func (*slowDisk) cannot(*campaign) string {
	probe := exec.Command("strace", "-o", os.DevNull, "-e", "inject=fsync:delay_enter=1", "true")
	if text, err := probe.CombinedOutput(); err != nil {
		return fmt.Sprintf("strace cannot hold up syncs here: %v %s", err, strings.TrimSpace(string(text)))
	}
	return ""
}

func (s *slowDisk) strike(ctx context.Context, c *campaign) (string, error) {
	if err := s.draw(ctx, c); err != nil {
		return "", err
	}
	inject := fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", syncDelay.Microseconds())
	s.tracer = exec.CommandContext(ctx, "strace", "-f", "-qq", "-o", os.DevNull, "-p", strconv.Itoa(s.n.PID()),
		"-e", "trace=fsync,fdatasync", "-e", inject)
	if err := s.tracer.Start(); err != nil {
		return "", err
	}
	return fmt.Sprintf("syncs of %v hung", s), c.await(ctx, "strace holds the node", func(context.Context) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.n.PID()))
		if err != nil || strings.Contains(string(text), "TracerPid:\t0\n") {
			return "it does not yet"
		}
		return ""
	})
}

func (s *slowDisk) mend(context.Context, *campaign) error {
	s.tracer.Process.Signal(os.Interrupt)
	s.tracer.Wait() // its status is the signal
	return nil
}

// moved is a switchover.
type moved struct{ target }

func (*moved) strike(ctx context.Context, c *campaign) (string, error) {
	_, to, err := c.primary(ctx)
	if err != nil {
		return "", err
	}
	var report replication.MoveReport
	if err := c.operate(ctx, &report, "switchover", "--to", to.Name); err != nil {
		return "", err
	}
	return "the primary moved to " + to.Name, nil
}

func (*moved) mend(context.Context, *campaign) error { return nil }

// forced is the phase failover: what a region had acknowledged alone is in its rescue files, and nothing else is. The
// traffic has silence meanwhile.
type forced struct{ target }

func (*forced) strike(ctx context.Context, c *campaign) (string, error) {
	c.traffic.gate.Lock()
	defer c.traffic.gate.Unlock()
	return "a region was lost and failed over", c.failover(ctx)
}

func (*forced) mend(context.Context, *campaign) error { return nil }

// crowd gives a node few descriptors and many idle connections.
type crowd struct {
	target
	command []string
	conns   []net.Conn
}

func (*crowd) cannot(*campaign) string {
	if _, err := exec.LookPath("sh"); err != nil {
		return "there is no shell that sets a limit: " + err.Error()
	}
	return ""
}

func (w *crowd) strike(ctx context.Context, c *campaign) (string, error) {
	if err := w.draw(ctx, c); err != nil {
		return "", err
	}
	w.command = w.n.Command
	limited := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, crowdFiles)
	w.n.Command = append([]string{"sh", "-c", limited}, w.command...)
	w.n.Kill()
	if err := errors.Join(w.n.Start(), c.awaitNode(ctx, w.n)); err != nil {
		return "", err
	}
	for _, addr := range []string{w.n.Config.ListenClient, w.n.Config.ListenPeer, w.n.Config.ListenHTTP} {
		for range crowdSize {
			conn, err := net.Dial("tcp", addr)
			if errors.Is(err, syscall.ECONNRESET) { // turned away before it knew that it was in
				continue
			}
			if err != nil {
				return "", fmt.Errorf("a connection of the crowd: %w", err)
			}
			w.conns = append(w.conns, conn)
		}
	}
	what := fmt.Sprintf("%v had %d idle connections and %d descriptors", w, len(w.conns), crowdFiles)
	return what, c.traffic.more(ctx, c.run, settledAcks)
}

func (w *crowd) mend(context.Context, *campaign) error {
	for _, conn := range w.conns {
		conn.Close()
	}
	if !w.n.Running() {
		return fmt.Errorf("%v ended in a crowd: %s", w, w.n.LastWords())
	}
	w.n.Kill()
	w.n.Command = w.command
	return w.n.Start()
}

// elsewhere starts a node at other addresses. The files of its region have them, those of the other not until it is
// mended.
type elsewhere struct{ target }

func (e *elsewhere) strike(ctx context.Context, c *campaign) (string, error) {
	if err := e.draw(ctx, c); err != nil {
		return "", err
	}
	e.n.Kill()
	if err := errors.Join(c.fleet.Move(e.n), e.n.Start(), c.awaitNode(ctx, e.n)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v moved to other addresses", e),
		errors.Join(c.traffic.follow(c.fleet.Nodes()), c.awaitServing(ctx))
}

func (e *elsewhere) mend(context.Context, *campaign) error {
	e.n.Follow()
	return nil
}

// allElsewhere starts a whole region at other addresses.
type allElsewhere struct {
	target
	nodes []*localfleet.Node
}

func (e *allElsewhere) strike(ctx context.Context, c *campaign) (string, error) {
	e.nodes = c.region.Nodes
	localfleet.Kill(e.nodes)
	for _, n := range e.nodes {
		if err := c.fleet.Move(n); err != nil {
			return "", err
		}
	}
	if err := localfleet.Start(e.nodes); err != nil {
		return "", err
	}
	return "all of " + c.region.Name + " moved to other addresses",
		errors.Join(c.traffic.follow(c.fleet.Nodes()), c.awaitServing(ctx))
}

func (e *allElsewhere) mend(context.Context, *campaign) error {
	for _, n := range e.nodes {
		n.Follow()
	}
	return nil
}
