package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/bench/ocean/link"
)

// ocean is a run under way.
type ocean struct {
	*settings
	dir   string
	line  *link.Link
	us    *region // the primary
	eu    *region
	taken figures
	spins []float64
	tcpBy string
}

// region is the nodes at one end of the line.
type region struct {
	name   string
	end    *link.Namespace
	nodes  []*node
	client *clientv3.Client
}

// node is a process of a region.
type node struct {
	arguments []string
	data, log string
	running   *exec.Cmd
}

const (
	clientPort = "2379"
	peerPort   = "2380"
	dirPrefix  = "bench-ocean-"
)

// open makes the line and a directory, and removes those of runs that have crashed.
func open(s *settings) (*ocean, error) {
	o := &ocean{settings: s}
	addrs := [2][]string{}
	for end := range addrs {
		for n := range s.nodes {
			addrs[end] = append(addrs[end], fmt.Sprintf("10.78.%d.%d", end+1, n+1))
		}
	}
	var err error
	if o.line, err = link.Open(s.line, 1, addrs[0], addrs[1]); err != nil {
		return nil, err
	}
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range left {
		pid := strings.TrimPrefix(filepath.Base(dir), dirPrefix)
		if _, err := os.Stat(filepath.Join("/proc", pid)); errors.Is(err, os.ErrNotExist) {
			_ = os.RemoveAll(dir) // it takes room, and no more
		}
	}
	o.dir = filepath.Join(os.TempDir(), dirPrefix+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(o.dir, 0o700); err != nil {
		return nil, errors.Join(err, o.line.Close())
	}
	o.us, o.eu = o.region("us", o.line.Near), o.region("eu", o.line.Far)
	return o, nil
}

// close ends everything.
func (o *ocean) close() error {
	for _, r := range []*region{o.us, o.eu} {
		r.stop()
	}
	return errors.Join(o.line.Close(), os.RemoveAll(o.dir))
}

// region says what its nodes are started with.
func (o *ocean) region(name string, end *link.Namespace) *region {
	r := &region{name: name, end: end}
	other, of := o.line.Far, "eu"
	if end == other {
		other, of = o.line.Near, "us"
	}
	var nodes, others []string
	for i, addr := range end.Addrs {
		nodes = append(nodes, fmt.Sprintf("%s-%d=%s:%s", name, i+1, addr, peerPort))
		others = append(others, fmt.Sprintf("%s=%s:%s", of, other.Addrs[i], peerPort))
	}
	for i, addr := range end.Addrs {
		called := fmt.Sprintf("%s-%d", name, i+1)
		n := &node{data: filepath.Join(o.dir, called), log: filepath.Join(o.dir, called+".log")}
		n.arguments = append([]string{"serve", "--name", called, "--region", name, "--data-dir", n.data,
			"--listen-client", addr + ":" + clientPort, "--listen-peer", addr + ":" + peerPort,
			"--nodes", strings.Join(nodes, ","), "--regions", strings.Join(others, ","), "--initial-primary", "us",
			"--cache-bytes", "64MiB", "--segment-bytes", "16MiB"}, strings.Fields(o.with)...)
		r.nodes = append(r.nodes, n)
	}
	return r
}

// begin starts both regions and waits until they serve.
func (o *ocean) begin(ctx context.Context) error {
	if err := errors.Join(o.us.start(o.mimir), o.eu.start(o.mimir)); err != nil {
		return err
	}
	if err := o.us.connect(ctx); err != nil {
		return err
	}
	_, err := o.us.client.Put(ctx, "began", "")
	return err
}

// start starts the nodes that do not run, with further arguments.
func (r *region) start(program string, further ...string) error {
	for _, n := range r.nodes {
		if n.running != nil {
			continue
		}
		log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		c := exec.Command(program, append(n.arguments[:len(n.arguments):len(n.arguments)], further...)...)
		c.Stdout, c.Stderr = log, log
		err = r.end.Start(c)
		log.Close()
		if err != nil {
			return fmt.Errorf("start a node of %s: %w", r.name, err)
		}
		n.running = c
	}
	return nil
}

// stop ends the nodes.
func (r *region) stop() {
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
	for _, n := range r.nodes {
		if n.running != nil {
			_ = n.running.Process.Signal(syscall.SIGTERM) // it may have ended
		}
	}
	for _, n := range r.nodes {
		if n.running != nil {
			end(n.running)
			n.running = nil
		}
	}
}

// end waits for a process that was asked to end, and for 10 seconds at most.
func end(c *exec.Cmd) {
	late := time.AfterFunc(10*time.Second, func() { _ = c.Process.Kill() })
	_ = c.Wait()
	late.Stop()
}

// endpoints are where clients of a region inside it connect.
func (r *region) endpoints() (all []string) {
	for _, addr := range r.end.Addrs {
		all = append(all, net.JoinHostPort(addr, clientPort))
	}
	return all
}

// dial connects to a node from inside its region.
func (r *region) dial(ctx context.Context, addr string) (net.Conn, error) {
	return r.end.Dial(ctx, addr, "")
}

// connect opens the region's client, and waits until the region serves.
func (r *region) connect(ctx context.Context) (err error) {
	// gRPC would try again after a second only, and a backlog may be over by then.
	err = await(ctx, r.name, func() error {
		c, err := r.dial(ctx, r.endpoints()[0])
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	if r.client, err = connect(ctx, r.end, r.endpoints()...); err != nil {
		return err
	}
	return await(ctx, r.name, func() error {
		_, err := r.revision(ctx)
		return err
	})
}

func connect(ctx context.Context, end *link.Namespace, endpoints ...string) (*clientv3.Client, error) {
	dial := func(ctx context.Context, addr string) (net.Conn, error) { return end.Dial(ctx, addr, "") }
	return clientv3.New(clientv3.Config{Endpoints: endpoints, Context: ctx, Logger: zap.NewNop(),
		DialTimeout: 5 * time.Second, DialOptions: []grpc.DialOption{grpc.WithContextDialer(dial)}})
}

// revision is how far the region is.
func (r *region) revision(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := r.client.Get(ctx, "began", clientv3.WithSerializable())
	if err != nil {
		return 0, err
	}
	return answer.Header.Revision, nil
}

// readyWithin is how long servers may take to serve.
const readyWithin = time.Minute

// await calls ready until it returns nil.
func await(ctx context.Context, what string, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready within %v: %w", what, readyWithin, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
