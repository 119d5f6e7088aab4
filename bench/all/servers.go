package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/localfleet"
)

// side is one set of servers.
type side struct {
	bench.Side
	pids     []int
	profiled []profiled // of Mimir
}

// servers are the processes that this run began, and ends.
type servers struct {
	dir    string
	list   []*exec.Cmd
	fleets []*localfleet.Fleet
}

// begin starts a program, with what it says in a file; or, if told is not nil, on it.
func (s *servers) begin(name string, told **bufio.Reader, program string, arguments ...string) (*exec.Cmd, error) {
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c := exec.Command(program, arguments...)
	c.Stdout, c.Stderr = log, log
	if told != nil {
		c.Stdout = nil
		pipe, err := c.StdoutPipe()
		if err != nil {
			return nil, err
		}
		*told = bufio.NewReader(pipe)
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	s.list = append(s.list, c)
	return c, nil
}

// end stops all of them, the last one first, and kills fleets.
func (s *servers) end() {
	for _, f := range s.fleets {
		f.Close()
	}
	for i := len(s.list) - 1; i >= 0; i-- {
		_ = s.list[i].Process.Signal(syscall.SIGTERM) // it may have ended
		ended := time.AfterFunc(10*time.Second, func() { _ = s.list[i].Process.Kill() })
		_ = s.list[i].Wait()
		ended.Stop()
	}
}

// readyWithin is how long servers may take to serve.
const readyWithin = time.Minute

// mimir starts a region of three nodes.
func (s *servers) mimir(ctx context.Context, program string) (*side, error) {
	f, c, err := startFleet(ctx, filepath.Join(s.dir, "fleet"), []string{program, "serve", "--pprof"}, 3, "here")
	if err != nil {
		return nil, err
	}
	s.fleets = append(s.fleets, f)
	defer c.Close()
	nodes := f.Nodes()
	return &side{Side: bench.Side{Name: "mimir", Endpoints: localfleet.Clients(nodes)}, pids: pidsOf(nodes),
		profiled: profiledNodes(nodes)}, nil
}

func pidsOf(nodes []*localfleet.Node) (pids []int) {
	for _, n := range nodes {
		pids = append(pids, n.PID())
	}
	return pids
}

// startFleet starts regions of so many nodes, without links between them, and returns a client of the first region once
// that serves. The caller closes both.
func startFleet(ctx context.Context, dir string, command []string, nodes int, regions ...string) (
	f *localfleet.Fleet, c *clientv3.Client, err error) {
	return startFleetOf(ctx, localfleet.Options{Dir: dir, Command: command, Regions: regions, Nodes: nodes})
}

// startFleetOf is startFleet with further options. Its links are direct.
func startFleetOf(ctx context.Context, o localfleet.Options) (f *localfleet.Fleet, c *clientv3.Client, err error) {
	o.Direct = true
	if f, err = localfleet.New(o); err != nil {
		return nil, nil, fmt.Errorf("lay out a fleet: %w", err)
	}
	if err = localfleet.Start(f.Nodes()); err == nil {
		c, err = dial(ctx, localfleet.Clients(f.Regions[0].Nodes))
	}
	if err != nil {
		words := f.Nodes()[0].LastWords()
		f.Close()
		return nil, nil, fmt.Errorf("start a fleet: %w; a node's last words: %s", err, words)
	}
	return f, c, nil
}

func clientConfig(ctx context.Context, endpoints []string) clientv3.Config {
	return clientv3.Config{Endpoints: endpoints, Context: ctx, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
		MaxCallSendMsgSize: 64 << 20}
}

// dial returns a client of servers that answer linearizable reads.
func dial(ctx context.Context, endpoints []string) (*clientv3.Client, error) {
	c, err := clientv3.New(clientConfig(ctx, endpoints))
	if err != nil {
		return nil, err
	}
	err = await(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := c.Get(bounded, "bench-reachable")
		return err
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// etcd starts nodes of etcd, whose names begin with a prefix.
func (s *servers) etcd(program, prefix string, nodes int) (*side, error) {
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return nil, err
	}
	var peers []string
	for i := range nodes {
		peers = append(peers, fmt.Sprintf("%s%d=http://127.0.0.1:%d", prefix, i, ports[nodes+i]))
	}
	one := &side{Side: bench.Side{Name: "etcd"}}
	for i := range nodes {
		name := fmt.Sprintf("%s%d", prefix, i)
		client, peer := fmt.Sprintf("127.0.0.1:%d", ports[i]), fmt.Sprintf("127.0.0.1:%d", ports[nodes+i])
		c, err := s.begin(name, nil, program, "--name", name, "--data-dir", filepath.Join(s.dir, name),
			"--log-level", "error", "--initial-cluster", strings.Join(peers, ","),
			"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
			"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer)
		if err != nil {
			return nil, err
		}
		one.Endpoints, one.pids = append(one.Endpoints, client), append(one.pids, c.Process.Pid)
	}
	return one, nil
}

// echo starts this very program as a server that keeps nothing.
func (s *servers) echo() (*side, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var told *bufio.Reader
	c, err := s.begin("echo", &told, program, "-echo")
	if err != nil {
		return nil, err
	}
	at, err := told.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("echo server: %w", err)
	}
	endpoints := []string{strings.TrimSpace(at)}
	return &side{Side: bench.Side{Name: "echo", Endpoints: endpoints}, pids: []int{c.Process.Pid}}, nil
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// await calls ready until it returns nil, and awaitEvery does so often.
func await(ctx context.Context, ready func() error) error {
	return awaitEvery(ctx, 100*time.Millisecond, ready)
}

func awaitEvery(ctx context.Context, every time.Duration, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", readyWithin, err)
		case <-time.After(every):
		}
	}
}
