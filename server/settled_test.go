package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/server/admin"
)

// What can change does when the settings are read anew, and the log tells of it; of what needs a restart it tells too,
// and a configuration that is wrong changes nothing. Meanwhile an operator can set the log.
func TestSettingsOfARunningNode(t *testing.T) {
	c := testConfig(t, "solo")
	var next atomic.Pointer[func(*Config) error]
	told, log := make(chan struct{}), &logged{}
	stop := runNodeWith(t, c, Options{LogTo: log, HungUp: told, Reload: func() (*Config, error) {
		read := *c
		return &read, (*next.Load())(&read)
	}})
	read := func(change func(*Config) error) {
		next.Store(&change)
		told <- struct{}{}
	}
	logs := func(lines ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("the log has %q", lines), func(context.Context) bool {
			for _, line := range lines {
				if !strings.Contains(log.String(), line) {
					return false
				}
			}
			return true
		})
	}
	client, etcd := adminClient(t, c, TLS{}), etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := etcd.Put(ctx, "a", "1")
		return err == nil
	})
	read(func(c *Config) error {
		c.QuotaBytes, c.SlowRequest, c.ListenPeer = 1<<30, time.Nanosecond, "127.0.0.1:1"
		c.Compaction.Retention = "1s"
		return nil
	})
	logs("setting=quota-backend-bytes from=0 to=1GiB", "setting=auto-compaction-retention from=0 to=1s",
		"needs a restart\"", "setting=listen-peer", "changed=3 waitForRestart=1")
	if status, err := etcd.Status(t.Context(), c.ListenClient); err != nil || status.DbSizeQuota != 1<<30 {
		t.Errorf("quota %v, %v", status, err)
	}
	page, err := getHTTP(c.ClientURL()+"/metrics", nil)
	if err != nil || !strings.Contains(string(page), "\nmimir_quota_bytes 1.073741824e+09\n") {
		t.Errorf("the metric has another quota, %v", err)
	}
	eventually(t, "the history is compacted by itself", func(ctx context.Context) bool {
		_, err := etcd.Put(ctx, "a", "2") // and is slow
		return err == nil && strings.Contains(log.String(), "history compacted by itself")
	})
	logs("a request was slow", "method=/etcdserverpb.KV/Put")

	read(func(c *Config) error {
		c.RegionRate = RegionRate{Copy: "solo-region=1MiB,*=0", Stream: "nowhere=1MiB"}
		return nil
	})
	logs("a setting means nothing in this fleet", "region-rate has a rate for nowhere")
	if strings.Contains(log.String(), "a rate for solo-region") || strings.Contains(log.String(), "a rate for *") {
		t.Errorf("warned of what is right:\n%s", log)
	}

	read(func(c *Config) error {
		c.MemoryBytes, c.Limits.AnswerBytes = 256<<20, 1<<30
		return nil
	})
	logs("max-answer-bytes 1GiB is more than memory-bytes, 256MiB")

	read(func(*Config) error { return errors.New("max-txn-ops 0 is out of bounds") })
	logs("settings not read anew: all stay as they are", "max-txn-ops 0 is out of bounds")

	if now, err := client.SetLog(t.Context(), admin.Log{Level: "debug", Format: "json"}); err != nil ||
		*now != (admin.Log{Level: "debug", Format: "json"}) {
		t.Errorf("set to %v, %v", now, err)
	}
	if _, err := client.SetLog(t.Context(), admin.Log{Level: "loud"}); err == nil ||
		!strings.Contains(err.Error(), `log-level "loud": use debug, info, warn or error`) {
		t.Errorf("a level that is none: %v", err)
	}
	if now, err := client.Log(t.Context()); err != nil || now.Level != "debug" {
		t.Errorf("told %v, %v", now, err)
	}
	logs(`"msg":"an operator set the log","node":"solo","region":"solo-region","level":"debug","format":"json"`)
	read(func(*Config) error { return nil })
	logs("setting=log-format from=json to=text")
	if _, err := client.SetLog(t.Context(), admin.Log{Level: "error"}); err != nil {
		t.Error(err)
	}
	logs(`op="POST /mimir/v1/log" outcome=done`) // who silences the log does not silence that
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// An address of which too many come to nothing is turned away, unless it is said that many are behind it, which can be
// said while the node runs.
func TestCrowdsOfARunningNode(t *testing.T) {
	c := testConfig(t, "us-1")
	node := runRereading(t, c)
	asks := func() error {
		_, err := getHTTP(c.ClientURL()+"/version", nil)
		return err
	}
	come := func() {
		for range 1300 {
			if c, err := net.Dial("tcp", c.ListenClient); err == nil { // else it was turned away at once
				c.Close()
			}
		}
	}
	eventually(t, "the node answers", func(context.Context) bool { return asks() == nil })
	eventually(t, "nobody is let in", func(context.Context) bool {
		come()
		return asks() != nil
	})
	many := *c
	many.Crowds = []string{"192.0.2.1", "127.0.0.0/8"}
	node.read(many)
	for range 3 {
		if come(); asks() != nil {
			t.Error("who may be many is turned away")
		}
	}
	if !strings.Contains(node.log.String(), "of=127.0.0.1/32 at-once=1000 each-second=100") {
		t.Errorf("the log: %s", node.log.String())
	}
}
