//go:build unix

package server

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// A node starts with the flags of a manifest that was made for etcd, and a socket more: it serves at each address, in
// plaintext where the address says so and with TLS elsewhere, and lists what it advertises.
func TestNodeWithFlagsOfEtcd(t *testing.T) {
	block := newAuthority(t, "ca").issue(t, "cp-1")
	files := map[string]string{"crt": block.Cert, "key": block.Key, "ca": block.CA}
	dir, err := os.MkdirTemp("", "m") // of a short name: the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, client, metrics := filepath.Join(dir, "s"), freeAddr(t), freeAddr(t)
	flags := append(kubeadmFlags("cp-1", client, freeAddr(t), metrics, filepath.Join(t.TempDir(), "data"),
		func(file string) string { return files[file] }),
		"--listen-client-urls=https://"+client+",unix://"+socket, "--auto-compaction-retention=1s")
	c, err := loadFlags(t, nil, flags...)
	if err != nil {
		t.Fatal(err)
	}
	c.Store.CacheBytes, c.Replication.SegmentBytes, c.Store.MemTableBytes = 8<<20, 1<<20, 4<<20
	stop := runNode(t, c)
	eventually(t, "metrics are served in plaintext", func(ctx context.Context) bool {
		body, err := getHTTP("http://"+metrics+"/metrics", nil)
		return err == nil && strings.Contains(body, "mimir_leader 1")
	})
	secure := etcdClient(t, c, block)
	local, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + socket}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if _, err := local.Put(t.Context(), "a", "by the socket"); err != nil {
		t.Fatal(err)
	}
	put, err := secure.Put(t.Context(), "a", "by TLS")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := local.MemberList(t.Context()); err != nil || len(list.Members) != 1 ||
		list.Members[0].Name != "cp-1" || list.Members[0].ClientURLs[0] != "https://"+client {
		t.Errorf("members %v, %v", list, err)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	web := &http.Client{Transport: &http.Transport{DialContext: dial}}
	if answer, err := web.Get("http://localhost/health"); err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("HTTP at the socket: %v, %v", answer, err)
	} else {
		answer.Body.Close()
	}
	web.CloseIdleConnections()
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the socket is open to others: %v, %v", info.Mode(), err)
	}
	eventually(t, "the history is compacted by itself", func(ctx context.Context) bool {
		_, err := local.Get(ctx, "a", clientv3.WithRev(put.Header.Revision-1))
		return err != nil && strings.Contains(err.Error(), "compacted")
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}
