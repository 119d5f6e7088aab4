package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// keyFile writes a file of keys.
func keyFile(t *testing.T, lines ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const (
	secretKey   = "key-that-nobody-sees"
	secretValue = "value-that-nobody-sees"
)

// live runs a node until it has read what it holds and written more, a table of the store included.
func live(t *testing.T, c *Config, puts int) {
	t.Helper()
	stop := runNode(t, c)
	client := etcdClient(t, c, TLS{})
	eventually(t, "the node serves", func(ctx context.Context) bool {
		_, err := client.Get(ctx, secretKey)
		return err == nil
	})
	if got, err := client.Get(t.Context(), secretKey); err != nil || puts > 0 && len(got.Kvs) != 1 {
		t.Fatal("what was written before is not there:", got, err)
	}
	for i := range 20 {
		value := fmt.Sprint(secretValue, puts, i, strings.Repeat("-", 2000))
		if _, err := client.Put(t.Context(), secretKey, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(client.Close(), stop()); err != nil {
		t.Fatal(err)
	}
}

// seen returns the files that show what was written.
func seen(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, secret := range []string{secretKey, secretValue, `"node"`, `"fleet"`} {
			if bytes.Contains(text, []byte(secret)) {
				names = append(names, path+" shows "+secret)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func useOf(t *testing.T, c *Config) map[string]KeyUse {
	t.Helper()
	uses, err := KeysInUse(c.Replication.DataDir, c.EncryptionKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]KeyUse{}
	for _, u := range uses {
		all[u.Key] = u
	}
	return all
}

// A directory is encrypted from one start on, gets another key, and becomes plain again. Nothing is lost, and each time
// only tables of the store are left of before, until they are rewritten too: then the former key may go.
func TestKeysComeAndGo(t *testing.T) {
	c := testConfig(t, "solo")
	dir := c.Replication.DataDir
	live(t, c, 0)
	if len(seen(t, dir)) == 0 {
		t.Fatal("this test sees nothing even in a plain directory")
	}
	one, first := atrest.NewKey()
	two, second := atrest.NewKey()
	for i, step := range []struct {
		keys         []string
		active, gone string
	}{
		{[]string{one}, first.String(), plain},
		{[]string{two, one}, second.String(), first.String()},
		{[]string{plain, two}, plain, second.String()},
	} {
		c.EncryptionKeyFile = keyFile(t, step.keys...)
		live(t, c, i+1)
		use := useOf(t, c)
		if u := use[step.active]; !u.Active || u.Files == 0 {
			t.Errorf("step %d: %+v", i, use)
		}
		if u := use[step.gone]; u.Files != u.Tables {
			t.Errorf("step %d: more than tables is left of before: %+v", i, use)
		}
		if _, _, err := RewriteAtRest(dir, c.EncryptionKeyFile, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if use = useOf(t, c); len(use) != 1 || use[step.active].Files == 0 {
			t.Errorf("step %d: rewritten, and others are needed: %+v", i, use)
		}
		if names := seen(t, dir); (len(names) > 0) != (step.active == plain) {
			t.Errorf("step %d: %q", i, names)
		}
	}
	c.EncryptionKeyFile = ""
	live(t, c, 4)
}

// A node without the key does not start, says which file needs which key, and calls nothing damaged. One whose header
// has a wrong bit is damage.
func TestANodeWithoutItsKeyDoesNotStart(t *testing.T) {
	c := testConfig(t, "solo")
	line, id := atrest.NewKey()
	other, _ := atrest.NewKey()
	c.EncryptionKeyFile = keyFile(t, line)
	live(t, c, 0)
	if names := seen(t, c.Replication.DataDir); len(names) > 0 {
		t.Errorf("%q", names)
	}
	start := func(keys string) error {
		c.EncryptionKeyFile = keys
		return Run(t.Context(), c, Options{LogTo: new(bytes.Buffer)})
	}
	for what, keys := range map[string]string{"none": "", "another": keyFile(t, other)} {
		err := start(keys)
		text := fmt.Sprint(err)
		if !errors.Is(err, atrest.ErrKey) || errors.Is(err, replication.ErrDamaged) ||
			!strings.Contains(text, id.String()) || !strings.Contains(text, c.Replication.DataDir+"/") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, keys := range map[string]string{
		"not a key": keyFile(t, "secret"), "nothing": keyFile(t), "no file": filepath.Join(t.TempDir(), "x"),
	} {
		if err := start(keys); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// A node of before knows nothing of keys; it comes as far as the store.
	_, err := kv.Open(kv.Options{Dir: filepath.Join(c.Replication.DataDir, storeDir)})
	if err == nil || errors.Is(err, replication.ErrDamaged) || !strings.Contains(err.Error(), "needs-a-newer-mimir") {
		t.Errorf("a node of before: %v", err)
	}
	identity := filepath.Join(c.Replication.DataDir, "IDENTITY")
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	text[20] ^= 4
	if err := os.WriteFile(identity, text, 0o600); err != nil {
		t.Fatal(err)
	}
	err = start(keyFile(t, line))
	if !errors.Is(err, replication.ErrDamaged) || !strings.Contains(err.Error(), identity) {
		t.Errorf("a wrong bit in a header: %v", err)
	}
}

// Nobody's files are written anew while he uses them.
func TestADirectoryInUseIsNotRewritten(t *testing.T) {
	c := testConfig(t, "solo")
	if err := durable.MakeDir(durable.OS, c.Replication.DataDir); err != nil {
		t.Fatal(err)
	}
	held, err := durable.OS.Lock(filepath.Join(c.Replication.DataDir, "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	line, _ := atrest.NewKey()
	c.EncryptionKeyFile = keyFile(t, line)
	_, _, err = RewriteAtRest(c.Replication.DataDir, c.EncryptionKeyFile, slog.New(slog.DiscardHandler))
	if !errors.Is(err, durable.ErrLocked) {
		t.Errorf("rewritten: %v", err)
	}
	if err := Run(t.Context(), c, Options{LogTo: new(bytes.Buffer)}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("started: %v", err)
	}
}

// The votes of a witness are encrypted too.
func TestAWitnessWithKeys(t *testing.T) {
	const name = "witness-that-nobody-sees" // so long that no random bytes say it
	dir := filepath.Join(t.TempDir(), "w")
	line, _ := atrest.NewKey()
	keys := keyFile(t, line)
	for range 2 {
		o := WitnessOptions{DataDir: dir, Fleets: []WitnessFleet{{ID: "f", Name: name}}, EncryptionKeyFile: keys}
		if err := witnessWith(t, o); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "ballot")); err != nil || bytes.Contains(text, []byte(name)) {
		t.Errorf("%q, %v", text, err)
	}
	if err := witnessIn(t, dir, name); !errors.Is(err, atrest.ErrKey) {
		t.Error(err)
	}
}
