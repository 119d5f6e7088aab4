package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A crowd of crowdSize connections comes to each port of a node that may have crowdFiles descriptors. In it crowdPuts
// values are put, so many that log and store need new files.
const (
	crowdSize  = 1100
	crowdFiles = 512
	crowdPuts  = 200
)

// crowd connects to every port of a node far more often than it has descriptors, says nothing, and wants the node to
// serve whoever does.
func (r misuse) crowd(ctx context.Context) error {
	shell, err := exec.LookPath("sh")
	if err != nil {
		r.line("a crowd: skipped, because there is no shell that sets a limit: %v", err)
		return nil
	}
	limited := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, crowdFiles)
	solo, err := r.startSolo(ctx, "crowd", filepath.Join(r.Dir, "crowd", "data"), shell, "-c", limited)
	if err != nil {
		return err
	}
	defer solo.Close()
	n := solo.Nodes()[0]
	value := strings.Repeat("0123456789abcdef", valueBytes/16)
	put := func(round int) error {
		client, err := connect(n.Config.ListenClient)
		if err != nil {
			return err
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		for i := range crowdPuts {
			if _, err := client.Put(ctx, fmt.Sprintf("/crowd/%d/%d", round, i), value); err != nil {
				return fmt.Errorf("put %d: %w", i+1, err)
			}
		}
		return nil
	}
	for round := range 3 {
		round++
		for _, addr := range []string{n.Config.ListenClient, n.Config.ListenPeer, n.Config.ListenHTTP} {
			for range crowdSize {
				c, err := net.Dial("tcp", addr)
				switch {
				case err == nil:
					defer c.Close()
				case !errors.Is(err, syscall.ECONNRESET): // else it was turned away before it knew that it was in
					return fmt.Errorf("a connection of the crowd: %w", err)
				}
			}
		}
		if err := put(round); err != nil {
			return fmt.Errorf("in crowd %d: %w; last words of the node: %s", round, err, n.LastWords())
		}
	}
	if !n.Running() {
		return fmt.Errorf("the node ended in a crowd: %s", n.LastWords())
	}
	n.Kill()
	if err := n.Start(); err != nil {
		return err
	}
	if err := r.awaitHealthy(ctx, n); err != nil {
		return fmt.Errorf("after a crowd: %w", err)
	}
	r.line("three crowds of %d idle connections to each port, with %d descriptors: all %d puts in between were done",
		crowdSize, crowdFiles, 3*crowdPuts)
	return nil
}
