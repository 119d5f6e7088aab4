package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// side is one set of servers.
type side struct {
	bench.Side
	pids []int
}

// servers are the processes that this run began, and ends.
type servers struct {
	dir  string
	list []*exec.Cmd
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

// end stops all of them, the last one first.
func (s *servers) end() {
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
	dir := filepath.Join(s.dir, "fleet")
	_, err := s.begin("mimir", nil, program, "dev", "--regions", "here", "--nodes", "3", "--data-dir", dir)
	if err != nil {
		return nil, err
	}
	var fleet struct {
		Regions []struct {
			Nodes []struct {
				Client string `json:"client"`
				PID    int    `json:"pid"`
			} `json:"nodes"`
		} `json:"regions"`
	}
	one := &side{Side: bench.Side{Name: "mimir"}}
	err = await(ctx, func() error {
		p, err := os.ReadFile(filepath.Join(dir, "fleet.json"))
		if err == nil {
			err = json.Unmarshal(p, &fleet)
		}
		if err != nil {
			return err
		}
		said, _ := os.ReadFile(filepath.Join(s.dir, "mimir.log"))
		if !strings.Contains(string(said), "are ready") {
			return errors.New("mimir dev is not ready")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, n := range fleet.Regions[0].Nodes {
		one.Endpoints, one.pids = append(one.Endpoints, n.Client), append(one.pids, n.PID)
	}
	return one, nil
}

// etcd starts three nodes of etcd.
func (s *servers) etcd(ctx context.Context, program string) (*side, error) {
	const nodes = 3
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return nil, err
	}
	var peers []string
	for i := range nodes {
		peers = append(peers, fmt.Sprintf("e%d=http://127.0.0.1:%d", i, ports[nodes+i]))
	}
	one := &side{Side: bench.Side{Name: "etcd"}}
	for i := range nodes {
		name := fmt.Sprintf("e%d", i)
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

// await calls ready until it returns nil.
func await(ctx context.Context, ready func() error) error {
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
		case <-time.After(100 * time.Millisecond):
		}
	}
}
