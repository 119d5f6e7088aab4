//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/localfleet"
)

// alone is a node that is a fleet by itself, in this process.
type alone struct {
	flags    []string
	endpoint string
	stop     func() int
}

func aNodeAlone(t *testing.T, fleet string) *alone {
	t.Helper()
	ports := localfleet.AnyPorts()
	t.Cleanup(ports.Close)
	addrs, err := ports.Next(2)
	if err != nil {
		t.Fatal(err)
	}
	clients, peers := addrs[0], addrs[1]
	return &alone{endpoint: clients, flags: []string{
		"--name", "us-1", "--region", "us", "--fleet", fleet, "--data-dir", filepath.Join(t.TempDir(), fleet),
		"--listen-client", clients, "--listen-peer", peers, "--nodes", "us-1=" + peers, "--log-level", "error",
		"--listen-http", "",
	}}
}

func (a *alone) start(t *testing.T) *clientv3.Client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- run(ctx, nil, append([]string{"serve"}, a.flags...), os.Stderr, os.Stderr) }()
	a.stop = sync.OnceValue(func() int { cancel(); return <-done })
	t.Cleanup(func() { a.stop() })
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{a.endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	eventually(t, "the node answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "k")
		return err == nil
	})
	return c
}

// TestSnapshotByHand is the section "Back up" of docs/operating.md: a snapshot of a node whose disk is encrypted is
// saved, looked at, and another fleet begins with it, encrypted too.
func TestSnapshotByHand(t *testing.T) {
	encryptFleet(t)
	old := aNodeAlone(t, "old")
	c := old.start(t)
	for i := range 3 {
		if _, err := c.Put(t.Context(), "k", fmt.Sprintf("value of %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	must := func(want string, arguments ...string) {
		t.Helper()
		if code, out, errs := mimir(t, arguments...); code != exitDone || !strings.Contains(out, want) {
			t.Fatalf("%v: %d\n%s%s", arguments, code, out, errs)
		}
	}
	refused := func(want string, arguments ...string) {
		t.Helper()
		if code, out, errs := mimir(t, arguments...); code == exitDone || !strings.Contains(errs, want) {
			t.Errorf("%v: %d\n%s%s", arguments, code, out, errs)
		}
	}
	must("node us-1 of region us in fleet old", "snapshot", "save", file, "--endpoints", old.endpoint)
	refused("already exists", "snapshot", "save", file, "--endpoints", old.endpoint)
	refused("names 2", "snapshot", "save", file, "--endpoints", "a,b")
	must("revision  4", "snapshot", "status", file)
	place := "file://" + filepath.ToSlash(t.TempDir())
	must("saved "+place+"/one.mimir", "snapshot", "save", place+"/one.mimir", "--endpoints", old.endpoint)
	refused("already exists", "snapshot", "save", place+"/one.mimir", "--endpoints", old.endpoint)
	refused("make the folder", "snapshot", "save", place+"/none/one.mimir", "--endpoints", old.endpoint)
	must("revision  4", "snapshot", "status", place+"/one.mimir")
	refused("no such object", "snapshot", "status", place+"/two.mimir")
	must("0 backups of fleet old", "snapshot", "list", place, "--fleet", "old")
	if code := old.stop(); code != exitDone {
		t.Fatalf("ended with %d", code)
	}

	fresh := aNodeAlone(t, "new")
	restore := func(more ...string) []string {
		return append(append([]string{"snapshot", "restore", place + "/one.mimir"}, fresh.flags...), more...)
	}
	refused("is of fleet old", restore("--fleet", "old")...)
	refused("--mark-compacted needs", restore("--mark-compacted")...)
	must("revision 1004, 1 keys", restore("--bump-revision", "1000", "--mark-compacted")...)
	refused("holds IDENTITY", restore()...)
	nothingShows(t, fresh.flags[7])
	refused("belongs to node us-1 of region us in fleet new",
		append([]string{"serve", "--fleet", "old"}, fresh.without("--fleet")...)...)

	c = fresh.start(t)
	got, err := c.Get(t.Context(), "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "value of 2" || got.Kvs[0].Version != 3 ||
		got.Kvs[0].CreateRevision != 2 || got.Kvs[0].ModRevision != 4 || got.Header.Revision != 1004 {
		t.Errorf("%v, %v", got, err)
	}
	r := <-c.Watch(t.Context(), "k", clientv3.WithRev(5))
	if r.Err() != rpctypes.ErrCompacted || r.CompactRevision != 1004 {
		t.Errorf("a watch of before: %+v, %v", r, r.Err())
	}
	if p, err := c.Put(t.Context(), "k", "more"); err != nil || p.Header.Revision != 1005 {
		t.Errorf("%v, %v", p, err)
	}
	if code := fresh.stop(); code != exitDone {
		t.Fatalf("ended with %d", code)
	}
	c = fresh.start(t)
	if got, err = c.Get(t.Context(), "k"); err != nil || got.Kvs[0].Version != 4 {
		t.Errorf("after another start: %v, %v", got, err)
	}
}

// without returns the flags but for one.
func (a *alone) without(flag string) (rest []string) {
	for i := 0; i < len(a.flags); i += 2 {
		if a.flags[i] != flag {
			rest = append(rest, a.flags[i], a.flags[i+1])
		}
	}
	return rest
}

// A node that accepts and says nothing is not waited for for ever by who gives up: what was begun is gone. What is no
// file is none, for every command that reads one.
func TestSnapshotCommandsEnd(t *testing.T) {
	dir := t.TempDir()
	pipe, out := filepath.Join(dir, "pipe"), filepath.Join(dir, "out")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	fresh := aNodeAlone(t, "fresh")
	for _, arguments := range [][]string{
		{"snapshot", "status", pipe},
		append([]string{"snapshot", "restore", pipe}, fresh.flags...),
		append([]string{"import", "--from", pipe}, fresh.flags...),
		{"export", filepath.Join(out, "e"), "--from", pipe},
	} {
		code, told, errs := mimir(t, arguments...)
		if code != exitFailed || !strings.Contains(errs, "no regular file") {
			t.Errorf("%v: %d %s%s", arguments[:2], code, told, errs)
		}
	}
	for _, arguments := range [][]string{
		{"snapshot", "save", filepath.Join(out, "s")}, {"export", filepath.Join(out, "e")},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, hangUp := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			defer close(over)
			if c, err := l.Accept(); err == nil {
				defer c.Close()
				hangUp()
				<-t.Context().Done()
			}
		}()
		at := l.Addr().String()
		var told strings.Builder
		code := run(ctx, nil, append(arguments, "--endpoints", at), &told, &told)
		if code != exitFailed || !strings.Contains(told.String(), at) {
			t.Errorf("%v: %d %s", arguments[:2], code, told.String())
		}
		hangUp()
		l.Close()
		t.Cleanup(func() { <-over })
	}
	if left, err := os.ReadDir(out); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}
