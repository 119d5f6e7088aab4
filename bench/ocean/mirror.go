package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench/ocean/link"
)

const (
	mirrorKeys  = 50_000
	mirrorBytes = 256 // of each value
	etcdPort    = "12379"
	etcdPeer    = "12380"
)

// measureMirror has etcd's make-mirror drain keys from us to eu, run at either end, and eu catch up on as many.
func (o *ocean) measureMirror(ctx context.Context, _ int) error {
	b, err := o.leave(ctx, mirrorKeys*mirrorBytes, mirrorBytes, noise)
	if err != nil {
		return err
	}
	c, err := o.catchUp(ctx, b)
	if err != nil {
		return err
	}
	ours := float64(c.revisions) / c.took.Seconds()
	for _, runs := range []struct {
		where string
		end   *link.Namespace
	}{{"the source", o.line.Near}, {"the target", o.line.Far}} {
		theirs, err := o.makeMirror(ctx, runs.end)
		if err != nil {
			return err
		}
		o.note("make-mirror, run beside "+runs.where, "keys/s", theirs)
		o.noteBeside("stream, keys as those of make-mirror beside "+runs.where, "keys/s", ours, "make-mirror", theirs)
	}
	return nil
}

// makeMirror returns how many keys a second arrive.
func (o *ocean) makeMirror(ctx context.Context, at *link.Namespace) (float64, error) {
	source, end, err := o.etcdIn(ctx, o.line.Near, "near")
	if err != nil {
		return 0, err
	}
	defer end()
	target, end, err := o.etcdIn(ctx, o.line.Far, "far")
	if err != nil {
		return 0, err
	}
	defer end()
	if err := fill(ctx, source, "ocean/", mirrorKeys, mirrorBytes, noise); err != nil {
		return 0, err
	}
	c := exec.Command(o.etcdctl, "--endpoints", net.JoinHostPort(o.line.Near.Addrs[0], etcdPort), "make-mirror",
		net.JoinHostPort(o.line.Far.Addrs[0], etcdPort))
	c.Env = append(os.Environ(), "ETCDCTL_API=3")
	if err := at.Start(c); err != nil {
		return 0, fmt.Errorf("start make-mirror: %w", err)
	}
	defer func() {
		_ = c.Process.Kill() // it does not end by itself
		_ = c.Wait()
	}()
	var began time.Time
	var first, count int64
	for ; ctx.Err() == nil; pause(ctx, 20*time.Millisecond) {
		answer, err := target.Get(ctx, "ocean/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return 0, err
		}
		count = answer.Count
		if count > 0 && began.IsZero() {
			began, first = time.Now(), count
		}
		if !began.IsZero() && (time.Since(began) >= o.lasts || count == mirrorKeys) {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if first == mirrorKeys {
		return 0, errors.New("make-mirror was through before it could be looked at")
	}
	return float64(count-first) / time.Since(began).Seconds(), nil
}

// etcdIn starts one node of etcd.
func (o *ocean) etcdIn(ctx context.Context, n *link.Namespace, name string) (*clientv3.Client, func(), error) {
	dir := filepath.Join(o.dir, "etcd-"+name)
	client, peer := net.JoinHostPort(n.Addrs[0], etcdPort), net.JoinHostPort(n.Addrs[0], etcdPeer)
	c := exec.Command(o.etcd, "--name", name, "--data-dir", dir, "--log-level", "error",
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", name+"=http://"+peer)
	if err := n.Start(c); err != nil {
		return nil, nil, fmt.Errorf("start etcd: %w", err)
	}
	stop := func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		end(c)
		_ = os.RemoveAll(dir)
	}
	to, err := connect(ctx, n, client)
	if err == nil {
		err = await(ctx, "etcd", func() error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := to.Get(ctx, "began")
			return err
		})
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return to, func() { to.Close(); stop() }, nil
}
