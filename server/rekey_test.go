package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// rekeyed is a node whose keys change while it runs.
type rekeyed struct {
	c      *Config
	told   chan struct{}
	log    *logged
	client *clientv3.Client
	stop   func() error
	puts   int
}

func runRekeyed(t *testing.T, c *Config) *rekeyed {
	t.Helper()
	c.Store.MemTableBytes = 1 << 20
	c.Limits.RequestTimeout = patience // each put is made once, and a busy machine is no failure
	n := &rekeyed{c: c, told: make(chan struct{}), log: &logged{}}
	n.stop = runNodeWith(t, c, Options{LogTo: n.log, HungUp: n.told})
	n.client = etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := n.client.Get(ctx, secretKey)
		return err == nil
	})
	return n
}

// change has the node read other keys, and waits for what its log says of them.
func (n *rekeyed) change(t *testing.T, says string, lines ...string) {
	t.Helper()
	before := strings.Count(n.log.String(), says)
	if err := os.WriteFile(n.c.EncryptionKeyFile, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	n.told <- struct{}{}
	eventually(t, "the log says "+says, func(context.Context) bool {
		return strings.Count(n.log.String(), says) > before
	})
}

// write puts more than a segment of the log takes, and more than the store keeps in memory.
func (n *rekeyed) write(t *testing.T) {
	t.Helper()
	for range 3 {
		if err := n.put(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (n *rekeyed) put(ctx context.Context) error {
	_, err := n.client.Put(ctx, fmt.Sprint(secretKey, n.puts), fmt.Sprint(secretValue, strings.Repeat("-", 1<<20)))
	if err == nil {
		n.puts++
	}
	return err
}

// mustHold wants everything to be there that the node acknowledged.
func (n *rekeyed) mustHold(t *testing.T, client *clientv3.Client) {
	t.Helper()
	for i := range n.puts {
		got, err := client.Get(t.Context(), fmt.Sprint(secretKey, i))
		if err != nil || len(got.Kvs) != 1 || !strings.HasPrefix(string(got.Kvs[0].Value), secretValue) {
			t.Fatalf("of %d writes %d is not there: %v", n.puts, i, err)
		}
	}
}

func (n *rekeyed) end(t *testing.T) {
	t.Helper()
	if err := errors.Join(n.client.Close(), n.stop()); err != nil {
		t.Fatal(err)
	}
}

// A key is added while the node runs: log and tables that it makes from then on are under it. A start has the rest, but
// for tables, which are rewritten with the node stopped or go with time; then the former key may go, with a restart.
func TestKeysAreAddedWithoutARestart(t *testing.T) {
	c := testConfig(t, "solo")
	one, first := atrest.NewKey()
	two, second := atrest.NewKey()
	c.EncryptionKeyFile = keyFile(t, one)
	live(t, c, 0) // its tables
	n := runRekeyed(t, c)
	n.write(t)
	n.change(t, fmt.Sprintf("another key now\" node=solo region=solo-region key=%s before=%s", second, first), two, one)
	eventually(t, "log and tables are under the new key", func(ctx context.Context) bool {
		u := useOf(t, c)[second.String()]
		return n.put(ctx) == nil && u.Active && u.Tables > 0 && u.Files > u.Tables
	})
	if u := useOf(t, c)[first.String()]; u.Files == u.Tables {
		t.Error("a file was rewritten beside the node:", u)
	}
	n.change(t, "a key goes with a restart only: put "+first.String()+" back", two)
	n.end(t)
	c.EncryptionKeyFile = keyFile(t, two, one)
	live(t, c, 1)
	if use := useOf(t, c); use[first.String()].Files != use[first.String()].Tables {
		t.Errorf("after a start more than tables is left of before: %+v", use)
	}
	_, _, err := RewriteAtRest(c.Replication.DataDir, c.EncryptionKeyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if use := useOf(t, c); len(use) != 1 || use[second.String()].Files == 0 {
		t.Errorf("rewritten, and others are needed: %+v", use)
	}
	c.EncryptionKeyFile = keyFile(t, two)
	last := runRekeyed(t, c)
	n.mustHold(t, last.client)
	last.end(t)
	if names := seen(t, c.Replication.DataDir); len(names) > 0 {
		t.Errorf("%q", names)
	}
}

// Keys that cannot be used change nothing: whatever the node makes behind it is under the key of before.
func TestKeysThatAreRefusedChangeNothing(t *testing.T) {
	c := testConfig(t, "solo")
	one, first := atrest.NewKey()
	two, _ := atrest.NewKey()
	unused, gone := atrest.NewKey()
	c.EncryptionKeyFile = keyFile(t, one, unused)
	n := runRekeyed(t, c)
	for what, refused := range map[string]struct {
		says  string
		lines []string
	}{
		"needed":     {"a key goes with a restart only: put " + first.String() + " back", []string{two, unused}},
		"not needed": {"a key goes with a restart only: put " + gone.String() + " back", []string{two, one}},
		"plain":      {atrest.ErrPlain.Error(), []string{plain, one, unused}},
		"no key":     {"line 1: a key is 64 hexadecimal digits", []string{two[:60], one, unused}},
		"empty":      {"no key is in it", nil},
	} {
		n.change(t, refused.says, refused.lines...)
		n.write(t)
		uses, err := KeysInUse(c.Replication.DataDir, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range uses {
			if u.Key != first.String() && u.Files > 0 {
				t.Errorf("%s: refused, and used: %+v", what, uses)
			}
		}
	}
	if err := os.Remove(c.EncryptionKeyFile); err != nil {
		t.Fatal(err)
	}
	n.told <- struct{}{}
	eventually(t, "the log says that the file is not there", func(context.Context) bool {
		return strings.Contains(n.log.String(), "encryption-key-file is not there: the keys stay as they were")
	})
	n.write(t)
	n.end(t)
	c.EncryptionKeyFile = keyFile(t, one)
	last := runRekeyed(t, c)
	n.mustHold(t, last.client)
	last.end(t)
}

// Nothing that was acknowledged is lost while keys change again and again beside whoever writes.
func TestNoWriteIsLostWhileKeysChange(t *testing.T) {
	c := testConfig(t, "solo")
	one, first := atrest.NewKey()
	two, second := atrest.NewKey()
	c.EncryptionKeyFile = keyFile(t, one, two)
	n := runRekeyed(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := n.put(ctx); err != nil && ctx.Err() == nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range 10 {
		now, lines := second, []string{two, one}
		if i%2 == 1 {
			now, lines = first, []string{one, two}
		}
		n.change(t, "another key now\" node=solo region=solo-region key="+now.String(), lines...)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	n.write(t)
	n.end(t)
	last := runRekeyed(t, c)
	n.mustHold(t, last.client)
	last.end(t)
}
