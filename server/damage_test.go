package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/mimir-kv/mimir/replication"
)

// damages are what may happen to a file of a data directory while nobody uses it.
var damages = map[string]func(path string) error{
	"a flipped byte in the middle": func(path string) error { return flip(path, 2) },
	"a flipped byte early":         func(path string) error { return flip(path, 16) },
	"cut to half": func(path string) error {
		info, err := os.Stat(path)
		return errors.Join(err, os.Truncate(path, info.Size()/2))
	},
	"emptied": func(path string) error { return os.Truncate(path, 0) },
	"deleted": os.Remove,
	"a directory": func(path string) error {
		return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
	},
	"a link to itself": linkToItself,
	"not to be read":   func(path string) error { return os.Chmod(path, 0) },
	"not to be written": func(path string) error {
		return os.Chmod(path, 0o400)
	},
}

// directoryDamages are what may happen to a directory in it.
var directoryDamages = map[string]func(path string) error{
	"deleted": os.RemoveAll,
	"a file": func(path string) error {
		return errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte("file"), 0o600))
	},
	"a link to itself":  linkToItself,
	"not to be entered": func(path string) error { return os.Chmod(path, 0) },
	"not to be written": func(path string) error { return os.Chmod(path, 0o500) },
}

// forbidding are the damages that root does not notice.
var forbidding = []string{"not to be read", "not to be written", "not to be entered"}

func linkToItself(path string) error { return errors.Join(os.RemoveAll(path), os.Symlink(path, path)) }

// flip changes the byte at a fraction of the file.
func flip(path string, fraction int) error {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return err
	}
	text[len(text)/fraction] ^= 0x40
	return os.WriteFile(path, text, 0o600)
}

const damagedKeys = 150

// filledDirectory runs a node alone until it has several log segments and tables, and returns its configuration.
func filledDirectory(t *testing.T) *Config {
	t.Helper()
	c := testConfig(t, "solo")
	for range 2 { // the second life opens and writes another table
		stop := runNode(t, c)
		client := etcdClient(t, c, TLS{})
		eventually(t, "the node serves", func(ctx context.Context) bool {
			_, err := client.Get(ctx, "a")
			return err == nil
		})
		for i := range damagedKeys {
			if _, err := client.Put(t.Context(), fmt.Sprintf("k%04d", i), damagedValue(i)); err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func damagedValue(i int) string { return strings.Repeat(fmt.Sprintf("%d-", i), 1500) }

// kinds returns one file of each kind in a directory, relative to it: of files whose names differ in numbers only, the
// first and the last. Of directories likewise the first.
func kinds(t *testing.T, dir string) (files, directories []string) {
	t.Helper()
	number := regexp.MustCompile(`\d+`)
	first, last := map[string]string{}, map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir || d.Name() == "LOCK" { // a lock is made anew
			return err
		}
		name, _ := filepath.Rel(dir, path)
		kind := number.ReplaceAllString(name, "N")
		switch {
		case first[kind] != "" && !d.IsDir():
			last[kind] = name
		case first[kind] == "" && d.IsDir():
			directories = append(directories, name)
			first[kind] = name
		case first[kind] == "":
			files = append(files, name)
			first[kind] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range last {
		files = append(files, name)
	}
	return files, directories
}

// TestDamageEndsInOneClearLine: whatever happened to a file while the node was down, it either serves everything that
// was written, or ends with one line that says where the damage is and what to do.
func TestDamageEndsInOneClearLine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a node for each kind of file and damage")
	}
	c := filledDirectory(t)
	names, directories := kinds(t, c.Replication.DataDir)
	t.Logf("%d files: %s; directories: %s", len(names), names, directories)
	var rows errgroup.Group
	rows.SetLimit(8) // they wait, for elections and clients, far more than they work
	for _, name := range slices.Concat(names, directories) {
		table := damages
		if slices.Contains(directories, name) {
			table = directoryDamages
		}
		for damage, do := range table {
			if os.Geteuid() == 0 && slices.Contains(forbidding, damage) {
				continue
			}
			rows.Go(func() error {
				t.Run(name+"/"+damage, func(t *testing.T) { damageOne(t, *c, name, do) })
				return nil
			})
		}
	}
	_ = rows.Wait() // rows fail by themselves
}

// damageOne damages a copy of a directory, and runs a node of its own on it.
func damageOne(t *testing.T, c Config, name string, do func(path string) error) {
	whole := c.Replication.DataDir
	dir, err := os.MkdirTemp("", "damage")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a store that was given up may still write there
		_ = os.Chmod(filepath.Join(dir, "data", name), 0o700)
		_ = os.RemoveAll(dir)
	})
	c.Replication.DataDir = filepath.Join(dir, "data")
	c.ListenClient, c.ListenPeer = freeAddr(t), freeAddr(t)
	c.AdvertiseClient = c.ListenClient
	if err := os.CopyFS(c.Replication.DataDir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	if err := do(filepath.Join(c.Replication.DataDir, name)); err != nil {
		t.Fatal(err)
	}
	checkDamaged(t, &c, strings.Split(name, string(filepath.Separator))[0])
}

// checkDamaged starts a node on a damaged directory, reads everything, and says how it ended. The error names room.
func checkDamaged(t *testing.T, c *Config, room string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &logged{}
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c, Options{Version: "test", LogTo: log}) }()
	read := make(chan error, 1)
	reading, stop := context.WithTimeout(ctx, patience)
	defer stop()
	client := etcdClient(t, c, TLS{})
	go func() { read <- readAll(reading, client) }()
	var err error
	select {
	case err = <-ended:
	case wrong := <-read:
		if wrong == nil { // it serves everything
			cancel()
			if err = <-ended; err == nil {
				return
			}
			break
		}
		select {
		case err = <-ended:
		case <-time.After(patience):
			t.Fatalf("goes on and answers %v\n%s", wrong, log)
		}
	}
	text := fmt.Sprint(err)
	if err == nil || strings.Contains(text, "\n") || len(text) > 1000 {
		t.Fatalf("not one clear line: %s\n%s", text, log)
	}
	for _, want := range []string{"data-dir " + c.Replication.DataDir, "; ", room} {
		if !strings.Contains(text, want) {
			t.Errorf("does not say %q: %s", want, text)
		}
	}
	if strings.Contains(log.String(), "goroutine ") {
		t.Errorf("a stack in the log:\n%s", log)
	}
	t.Log(text)
}

// readAll waits until the node serves and compares all that was written. A read that fails is repeated: the node may be
// about to end.
func readAll(ctx context.Context, client *clientv3.Client) error {
	for {
		answer, err := client.Get(ctx, "k", clientv3.WithPrefix())
		switch {
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		case err != nil:
			time.Sleep(10 * time.Millisecond)
			continue
		case len(answer.Kvs) != damagedKeys:
			return fmt.Errorf("%d keys of %d", len(answer.Kvs), damagedKeys)
		}
		for i, kv := range answer.Kvs {
			if string(kv.Value) != damagedValue(i) {
				return fmt.Errorf("key %s has another value", kv.Key)
			}
		}
		return nil
	}
}

// A directory whose identity is gone is not an empty one, and that of another node is not taken.
func TestADirectoryOfSomebodyElse(t *testing.T) {
	c := filledDirectory(t)
	foreign := []byte("somebody put it there")
	for _, test := range []struct {
		why string
		put func(room string) error
	}{
		{"foreign files beside copies and tails", func(room string) error {
			return errors.Join(os.MkdirAll(room, 0o700), os.WriteFile(filepath.Join(room, "x.rescue"), foreign, 0o600))
		}},
		{"files where copies and tails belong", func(room string) error {
			return errors.Join(os.RemoveAll(room), os.WriteFile(room, foreign, 0o600))
		}},
	} {
		for _, room := range []string{"rescue", "staging", "copies"} {
			if err := test.put(filepath.Join(c.Replication.DataDir, room)); err != nil {
				t.Fatal(err)
			}
		}
		t.Run(test.why, func(t *testing.T) { checkDamaged(t, c, "data-dir") })
	}
	for _, test := range []struct {
		why    string
		change func(*Config)
		want   error
		text   string
	}{
		{"another node", func(c *Config) {
			c.Replication.NodeID, c.Replication.Nodes = "other", map[string]string{"other": c.Replication.PeerAddr}
		}, replication.ErrIdentity, "belongs to node solo of region solo-region"},
		{"another fleet", func(c *Config) { c.Replication.FleetID = "other" }, replication.ErrIdentity,
			"in fleet mimir"},
		{"no identity", func(c *Config) { os.Remove(filepath.Join(c.Replication.DataDir, "IDENTITY")) },
			replication.ErrDamaged, "IDENTITY, which says whose they are, is gone"},
	} {
		t.Run(test.why, func(t *testing.T) {
			other := *c
			test.change(&other)
			err := Run(t.Context(), &other, Options{Version: "test", LogTo: &logged{}})
			if !errors.Is(err, test.want) || !strings.Contains(fmt.Sprint(err), test.text) ||
				!strings.Contains(err.Error(), "; ") || strings.Contains(err.Error(), "is empty") {
				t.Errorf("told %v", err)
			}
		})
	}
}
