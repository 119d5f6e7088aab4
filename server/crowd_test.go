package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A crowd of connections that say nothing, at every port, keeps nobody out: neither clients nor nodes, with TLS or
// without.
func TestACrowdKeepsNobodyOut(t *testing.T) {
	for _, secure := range []bool{false, true} {
		name := map[bool]string{false: "plain", true: "tls"}[secure]
		t.Run(name, func(t *testing.T) {
			us, eu := testConfig(t, "us-"+name), testConfig(t, "eu-"+name)
			var me TLS
			if secure {
				a := newAuthority(t, "all")
				us.ClientTLS, us.PeerTLS = a.issue(t, "us"), a.issue(t, "us")
				eu.ClientTLS, eu.PeerTLS = a.issue(t, "eu"), a.issue(t, "eu")
				me = TLS{CA: a.file}
			}
			us.Replication.RegionID, us.Replication.InitialPrimary = "us", "us"
			eu.Replication.RegionID, eu.Replication.InitialPrimary = "eu", "us"
			us.Replication.Regions = map[string][]string{"eu": {eu.ListenPeer}}
			eu.Replication.Regions = map[string][]string{"us": {us.ListenPeer}}
			us.MaxConnections, us.ListenHTTP = 16, freeAddr(t)
			runNode(t, us)
			eventually(t, "us serves", func(context.Context) bool {
				c, err := net.Dial("tcp", us.ListenClient)
				if err == nil {
					c.Close()
				}
				return err == nil
			})
			const crowd = 1200 // more than any port takes
			reset := map[string]int{}
			for listener, addr := range map[string]string{
				"listen-client": us.ListenClient, "listen-peer": us.ListenPeer, "listen-http": us.ListenHTTP,
			} {
				for range crowd {
					c, err := net.Dial("tcp", addr)
					if errors.Is(err, syscall.ECONNRESET) { // it was turned away before it knew that it was in
						reset[listener]++
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
				}
			}
			runNode(t, eu)
			secondary, primary := etcdClient(t, eu, me), etcdClient(t, us, me)
			eventually(t, "a put by way of the secondary, and a read at the primary", func(ctx context.Context) bool {
				ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				defer cancel()
				if _, err := secondary.Put(ctx, "k", "v"); err != nil {
					return false
				}
				answer, err := primary.Get(ctx, "k")
				return err == nil && len(answer.Kvs) == 1
			})
			eventually(t, "the crowd is counted", func(context.Context) bool {
				body, err := getHTTP("http://"+us.ListenHTTP+"/metrics", nil)
				strangers := refusedAt(body, "listen-client", "stranger")
				away := refusedAt(body, "listen-client", "toll")
				for listener, n := range reset {
					if err == nil && refusedAt(body, listener, "toll") < n {
						return false // somebody was reset who was not turned away
					}
				}
				return err == nil && strangers > crowd/2 && strangers+away >= crowd-us.MaxConnections &&
					strings.Contains(body, `mimir_connections_limit{listener="listen-client"} 16`)
			})
		})
	}
}

// refusedAt returns how many connections a listener refused, as metrics say it, or -1 if they do not.
func refusedAt(metrics, listener, reason string) int {
	_, rest, _ := strings.Cut(metrics,
		fmt.Sprintf("mimir_connections_refused_total{listener=%q,reason=%q} ", listener, reason))
	count, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseFloat(count, 64)
	if err != nil {
		return -1
	}
	return int(n)
}

// As many clients as may be connected are, and one more is turned away at once instead of hanging.
func TestOneClientTooMany(t *testing.T) {
	c := testConfig(t, "full")
	c.MaxConnections = 2
	runNode(t, c)
	var inside []net.Conn
	enter := func() (net.Conn, error) { // with a request that is under way, so that it makes no room
		c, err := net.Dial("tcp", c.ListenClient)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, "POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"+
			"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 512)); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	}
	eventually(t, "two are inside", func(context.Context) bool {
		if one, err := enter(); err == nil {
			inside = append(inside, one)
		}
		return len(inside) == 2
	})
	if _, err := enter(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a third was let in, or left waiting: %v", err)
	}
	inside[0].Close()
	eventually(t, "there is room again", func(context.Context) bool {
		_, err := enter()
		return err == nil
	})
}

// Connections on which nothing is asked keep nobody out for long, however many, whatever was asked on them before; who
// waits for an answer stays.
func TestWhoAsksNothingKeepsNobodyOut(t *testing.T) {
	c := testConfig(t, "idle")
	c.MaxConnections, c.ListenHTTP = 4, freeAddr(t)
	runNode(t, c)
	watcher := etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := watcher.Get(ctx, "k")
		return err == nil
	})
	seen := watcher.Watch(clientv3.WithRequireLeader(t.Context()), "k")
	var crowd []net.Conn
	for _, word := range []string{
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"GET /version HTTP/1.1\r\nHost: x\r\n\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		idle, err := net.Dial("tcp", c.ListenClient)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { idle.Close() })
		crowd = append(crowd, idle)
		io.WriteString(idle, word)
		if n, err := idle.Read(make([]byte, 9)); n == 0 {
			t.Fatal("the node does not answer a greeting:", err)
		}
	}
	for range 3 {
		newcomer := etcdClient(t, c, TLS{})
		eventually(t, "a newcomer is let in", func(ctx context.Context) bool {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, err := newcomer.Get(ctx, "k")
			return err == nil
		})
		newcomer.Watch(t.Context(), "k") // and keeps its place
	}
	for i, c := range crowd {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d, on which nothing is asked, keeps its place", i)
		}
	}
	if _, err := watcher.Put(t.Context(), "k", "v"); err != nil {
		t.Error(err)
	}
	if answer := <-seen; answer.Err() != nil || len(answer.Events) == 0 {
		t.Errorf("the watch: %v, %v", answer.Events, answer.Err())
	}
	eventually(t, "what made room is counted, more if a newcomer came twice", func(context.Context) bool {
		body, err := getHTTP("http://"+c.ListenHTTP+"/metrics", nil)
		return err == nil && refusedAt(body, "listen-client", "idle") >= 3
	})
}
