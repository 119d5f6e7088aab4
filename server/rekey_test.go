package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// The key of a node that runs is exchanged: what it writes is under the new one from then on, its tables are written
// anew beside clients who write and read, and a start has the rest. Then the former key is needed by nobody. A file of
// keys from which one that is needed went changes nothing, and says so.
func TestKeysChangeWithoutARestart(t *testing.T) {
	c := testConfig(t, "solo")
	one, first := atrest.NewKey()
	two, second := atrest.NewKey()
	c.EncryptionKeyFile = keyFile(t, one)
	live(t, c, 0) // its tables
	told, log := make(chan struct{}), &logged{}
	stop := runNodeWith(t, c, Options{LogTo: log, HungUp: told})
	client := etcdClient(t, c, TLS{})
	put := func(ctx context.Context, text string) bool {
		_, err := client.Put(ctx, secretKey, secretValue+text)
		return err == nil
	}
	eventually(t, "the node serves", func(ctx context.Context) bool { return put(ctx, "before") })
	change := func(says string, lines ...string) {
		t.Helper()
		if err := os.WriteFile(c.EncryptionKeyFile, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		told <- struct{}{}
		eventually(t, "the log says "+says, func(context.Context) bool { return strings.Contains(log.String(), says) })
	}
	change("keys stay as they were", two)
	if use := useOf(t, c); use[first.String()].Files == 0 || use[second.String()].Files > 0 {
		t.Errorf("refused, and used: %+v", use)
	}
	change(fmt.Sprintf("another key now\" node=solo region=solo-region key=%s before=%s", second, first), two, one)
	eventually(t, "tables of before are written anew", func(ctx context.Context) bool {
		use := useOf(t, c)
		return put(ctx, "meanwhile") && use[first.String()].Tables == 0 && use[second.String()].Tables > 0
	})
	if !put(t.Context(), "behind") {
		t.Fatal("no write behind it")
	}
	if err := errors.Join(client.Close(), stop()); err != nil {
		t.Fatal(err)
	}
	live(t, c, 1)
	if use := useOf(t, c); len(use) != 1 || !use[second.String()].Active {
		t.Errorf("after a start others are needed: %+v", use)
	}
	c.EncryptionKeyFile = keyFile(t, two)
	live(t, c, 2)
	if names := seen(t, c.Replication.DataDir); len(names) > 0 {
		t.Errorf("%q", names)
	}
}
