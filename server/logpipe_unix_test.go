//go:build unix

package server

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A node whose log is a pipe that nobody reads any more starts, serves, reads its settings anew and stops: lines are
// lost, and nothing waits for them.
func TestALogThatNobodyReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no pipes with names here: ", err)
	}
	c, log := testConfig(t, "solo"), &logged{}
	c.LogOutputs = []string{path}
	if err := Run(t.Context(), c, Options{LogTo: log}); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("of a pipe without a reader: %v", err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for raw, err := writer.SyscallConn(); err == nil; { // until it is full
		if failed := raw.Write(func(fd uintptr) bool {
			_, err = syscall.Write(int(fd), make([]byte, 4096))
			return true
		}); failed != nil {
			t.Fatal(failed)
		}
	}

	c.LogOutputs = append(c.LogOutputs, toStderr)
	told, read := make(chan struct{}), make(chan struct{}, 1)
	stop := runNodeWith(t, c, Options{LogTo: log, HungUp: told, Reload: func() (*Config, error) {
		read <- struct{}{}
		next := *c
		next.LogOutputs = []string{toStderr}
		return &next, nil
	}})
	client := etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "a", "1")
		return err == nil
	})
	told <- struct{}{}
	<-read
	eventually(t, "the settings are read anew", func(context.Context) bool {
		return strings.Contains(log.String(), "setting=log-outputs")
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
}
