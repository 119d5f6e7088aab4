//go:build unix

package server

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Data directories of two regions of one node, fleet prod, as commit 558380f made them: of the time before nodes were
// bound to their certificates, and before there were operators, users and roles. us is the primary, and has
//
//	before = 1, before/leased = 2 with the lease 7000 of 3600 s

// settingsOfBefore are those of such a node, with one authority for everything.
const settingsOfBefore = `
name: NAME
region: REGION
fleet: prod
data-dir: DIR
listen-client: CLIENT
listen-peer: PEER
initial-primary: us
regions:
  OTHER: ["OTHERPEER"]
client-tls: {cert: DIR.crt, key: DIR.key, ca: CA, require-client-cert: true}
peer-tls: {cert: DIR.crt, key: DIR.key, ca: CABIND}
segment-bytes: 1MiB
cache-bytes: 8MiB
mem-table-bytes: 4MiB
`

// unpack makes a directory of an archive, with the modes that it had.
func unpack(t *testing.T, archive, to string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(zipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(to, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, 0o644)
			}
		}
		if err = errors.Join(err, os.Chmod(path, os.FileMode(h.Mode).Perm())); err != nil {
			t.Fatal(err)
		}
	}
}

// former is a fleet of before.
type former struct {
	*testing.T
	authority *authority
	dir       string
	addresses map[string]string // of peers and clients, by node
	more      map[string]string // settings, by node
	bind      map[string]string // likewise, of peer-tls
	log       map[string]*logged
	running   map[string]func() error
	configs   map[string]*Config
}

var regionsOfBefore = map[string]string{"us-1": "us", "eu-1": "eu"}

func newFormer(t *testing.T) *former {
	f := &former{T: t, authority: newAuthority(t, "everything"), dir: t.TempDir(), addresses: map[string]string{},
		more: map[string]string{}, bind: map[string]string{}, log: map[string]*logged{},
		running: map[string]func() error{}, configs: map[string]*Config{}}
	for name := range regionsOfBefore {
		unpack(t, filepath.Join("testdata", "before", name+".tar.gz"), filepath.Join(f.dir, name))
		f.certify(name, name)
		f.addresses[name], f.addresses[name+" clients"] = freeAddr(t), freeAddr(t)
	}
	return f
}

// certify gives a node a certificate of that name.
func (f *former) certify(node, name string) {
	f.Helper()
	block := f.authority.issue(f.T, name)
	for from, to := range map[string]string{block.Cert: node + ".crt", block.Key: node + ".key"} {
		if err := os.Rename(from, filepath.Join(f.dir, to)); err != nil {
			f.Fatal(err)
		}
	}
}

// start starts a node by its settings.
func (f *former) start(name string) {
	f.Helper()
	other := map[string]string{"us-1": "eu-1", "eu-1": "us-1"}[name]
	text := strings.NewReplacer("NAME", name, "REGION", regionsOfBefore[name], "DIR", filepath.Join(f.dir, name),
		"CLIENT", f.addresses[name+" clients"], "OTHERPEER", f.addresses[other], "OTHER", regionsOfBefore[other],
		"PEER", f.addresses[name], "CABIND", f.authority.file+f.bind[name], "CA", f.authority.file,
	).Replace(settingsOfBefore) + f.more[name]
	file := filepath.Join(f.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	c, err := Load(file, func(string) (string, bool) { return "", false }, nil)
	if err != nil {
		f.Fatal(err)
	}
	c.ShutdownTimeout = time.Minute // a busy machine is no failure
	c.Replication.TickInterval = 20 * time.Millisecond
	f.configs[name], f.log[name] = c, &logged{}
	f.running[name] = runNodeWith(f.T, c, Options{LogTo: f.log[name]})
}

// open waits until a node serves, and returns what it says is open, and what to change.
func (f *former) open(name string, as TLS) (list []string) {
	f.Helper()
	client := adminClient(f.T, f.configs[name], as)
	eventually(f.T, name+" is healthy", func(ctx context.Context) bool {
		node, err := client.Node(ctx)
		if err != nil || !node.Healthy {
			return false
		}
		list = node.Open
		return true
	})
	return list
}

// Fleets of before, without roles and with one authority for nodes and clients, go on working as they are: with any
// certificate keys of before are read and written, and the primary is moved. Each node says in its log and in its
// status what is open, and what to change; who does that, one node after the other while the fleet works, has what an
// application's certificate cannot do.
func TestFleetsOfBeforeGoOn(t *testing.T) {
	f := newFormer(t)
	app, op := f.authority.issue(t, "app"), f.authority.issue(t, "op")
	for name := range regionsOfBefore {
		f.start(name)
	}
	for name := range regionsOfBefore {
		list := f.open(name, app)
		for _, want := range []string{"peer-tls.bind", "every client is an operator", "chmod -R go= " + f.dir} {
			told := func(text string) bool { return strings.Contains(text, want) }
			if !slices.ContainsFunc(list, told) || !strings.Contains(f.log[name].String(), want) {
				t.Errorf("%s does not tell of %s, but of %q", name, want, list)
			}
		}
	}
	f.works(app, 1)
	if err := f.moves(app, "eu"); err != nil {
		t.Error("with any certificate, as before:", err)
	}
	f.works(app, 2)
	for round, bind := range []string{"", ", bind: node"} { // which is asked for when all certificates have names
		for _, name := range []string{"us-1", "eu-1"} {
			if err := f.running[name](); err != nil {
				t.Fatal(err)
			}
			chmod(t, filepath.Join(f.dir, name))
			full, _ := nodeNames("prod", regionsOfBefore[name], name)
			f.certify(name, full)
			f.more[name], f.bind[name] = "operator: {allowed-cn: [op]}\n", bind
			f.start(name)
			f.open(name, app)
			f.works(app, 3+round)
		}
	}
	for name := range regionsOfBefore {
		if list := f.open(name, app); len(list) > 0 {
			t.Errorf("%s is still open: %q", name, list)
		}
	}
	if f.moves(app, "us") == nil {
		t.Error("an application moves the primary")
	}
	if err := f.moves(op, "us"); err != nil {
		t.Error("an operator does not:", err)
	}
	f.works(app, 9)
}

// moves moves the primary, as often as it takes. It returns an error if who asks for it has not the right.
func (f *former) moves(as TLS, to string) (refused error) {
	f.Helper()
	client, said := adminClient(f.T, f.configs["us-1"], as), ""
	eventually(f.T, "the primary is moved to "+to, func(ctx context.Context) bool {
		_, err := client.Switchover(ctx, to)
		if err == nil || strings.Contains(err.Error(), "is primary already") { // by the time before
			return true
		}
		if strings.Contains(err.Error(), "operator.allowed-cn") {
			refused = err
			return true
		}
		if said != err.Error() {
			said = err.Error()
			f.Log("not yet:", said)
		}
		return false
	})
	return refused
}

// chmod does what a node says is to be done with its directory.
func chmod(t *testing.T, dir string) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, info.Mode().Perm()&^0o077)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// works reads what was there before at every node, and writes.
func (f *former) works(as TLS, round int) {
	f.Helper()
	for name := range regionsOfBefore {
		client := etcdClient(f.T, f.configs[name], as)
		want, key := map[string]string{"before": "1", "before/leased": "2"}, fmt.Sprintf("after/%d/%s", round, name)
		eventually(f.T, name+" has what there was, and takes more", func(ctx context.Context) bool {
			bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			got, err := client.Get(bounded, "before", clientv3.WithPrefix())
			if err != nil || len(got.Kvs) != len(want) {
				return false
			}
			for _, kv := range got.Kvs {
				if want[string(kv.Key)] != string(kv.Value) {
					f.Errorf("%s: %s is %q", name, kv.Key, kv.Value)
				}
			}
			_, err = client.Put(bounded, key, "")
			return err == nil
		})
		eventually(f.T, name+" tells of the lease", func(ctx context.Context) bool {
			bounded, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			lease, err := client.TimeToLive(bounded, 0x7000, clientv3.WithAttachedKeys())
			if err == nil && (lease.GrantedTTL != 3600 || len(lease.Keys) != 1) {
				f.Errorf("%s: the lease is %+v", name, lease)
			}
			return err == nil
		})
		client.Close()
	}
}
