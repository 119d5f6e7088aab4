package compat

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

var recipeFlag = flag.Int64("compat-recipe", 1<<20, "bytes of values that an etcd has that is moved by the recipe")

// recipeUser is who is asked for everything: authentication is on.
const recipeUser = "root:secret"

// TestRecipe moves an etcd into a fleet of two regions by the commands of docs/migration.md, while it is written, and
// back into an etcd: revisions, leases, versions and users are the same in all three, by the hashes of ranges of
// revisions, and the two etcds say the same of HashKV.
func TestRecipe(t *testing.T) {
	r := &recipe{T: t, binary: buildMimir(t), dir: t.TempDir(), etcd: startEtcd(t, "simple"), began: time.Now()}
	r.fill()
	f, err := localfleet.New(localfleet.Options{
		Dir: filepath.Join(r.dir, "fleet"), Regions: []string{"us", "eu"}, Nodes: 1, Delay: 5 * time.Millisecond,
		Command: []string{r.binary, "serve", "--bcrypt-cost", "4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	us, kept := f.Regions[0].Nodes[0], filepath.Join(r.dir, "etcd.db")
	r.run("import", "--from", r.url(), "--from-user", recipeUser, "--follow", "--keep", kept, "--config",
		us.ConfigPath())
	if err := localfleet.Start(f.Nodes()); err != nil {
		t.Fatal(err)
	}
	r.listened(localfleet.Clients(f.Nodes()))
	fleet := strings.Join(localfleet.Clients(f.Nodes()), ",")
	both := []string{"--from", r.url(), "--from-user", recipeUser, "--endpoints", fleet, "--user", recipeUser}
	followed := r.begin(append([]string{"import", "follow"}, both...)...)
	wrote := r.write()
	verified := r.verified(r.equal("import verify", append(both, "--every", "10000")...))

	r.run(append([]string{"import", "finish", "--fence", "--verified", verified}, both...)...)
	if w := <-wrote; w.writes == 0 || !errors.Is(w.err, rpctypes.ErrCorrupt) {
		t.Errorf("who wrote all the while made %d writes, and ended with %v: the etcd was to refuse it", w.writes,
			w.err)
	}
	if err := <-followed; err != nil {
		t.Errorf("whoever followed ended with %v", err)
	}
	ranges := r.equal("import verify", append(both, "--every", "10000")...)

	out, dir := filepath.Join(r.dir, "out.db"), filepath.Join(r.dir, "restored")
	r.run("export", out, "--endpoints", localfleet.Clients(f.Nodes())[0], "--user", recipeUser)
	began := time.Now()
	restore(t, out, dir)
	r.Logf("restored into an etcd in %v", time.Since(began).Round(time.Millisecond))
	again := startEtcdIn(t, "simple", "127.0.0.1:0", dir)
	if got := r.equal("import verify", "--from", r.url(), "--from-user", recipeUser, "--endpoints", again, "--user",
		recipeUser, "--every", "10000"); got != ranges {
		t.Errorf("the etcd that was restored has\n%s, and the fleet had\n%s", got, ranges)
	}
	r.sameHashes(again)
	if _, err := r.client(fleet).Put(t.Context(), "now", "of clients"); err != nil {
		t.Errorf("the fleet takes no writes: %v", err)
	}
}

// recipe is an etcd on its way.
type recipe struct {
	*testing.T
	binary, dir string
	etcd        string // where it listens
	began       time.Time
	compacted   int64
}

func (r *recipe) url() string { return "http://" + r.etcd }

// client is root's.
func (r *recipe) client(endpoints string) *clientv3.Client {
	r.Helper()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(endpoints, ","), DialTimeout: 10 * time.Second, Username: "root", Password: "secret",
	})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { c.Close() })
	return c
}

// fill has the etcd hold so much, in versions of which a quarter is compacted, with leases, users and roles.
func (r *recipe) fill() {
	r.Helper()
	ctx, c := r.Context(), clients(r.T, r.etcd)
	for id := range clientv3.LeaseID(50) {
		if _, err := c.Grant(ctx, 3600+int64(id)); err != nil {
			r.Fatal(err)
		}
	}
	leases, err := c.Leases(ctx)
	if err != nil {
		r.Fatal(err)
	}
	var mu sync.Mutex
	var left, last = *recipeFlag, int64(0)
	var writers sync.WaitGroup
	for w := range uint64(8) {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(1, w))
			for r.Context().Err() == nil {
				value := make([]byte, 300+random.IntN(20_000))
				for i := range value {
					value[i] = byte('a' + random.IntN(16))
				}
				mu.Lock()
				left -= int64(len(value))
				over := left < 0
				mu.Unlock()
				if over {
					return
				}
				var options []clientv3.OpOption
				if random.IntN(10) == 0 {
					options = append(options, clientv3.WithLease(leases.Leases[random.IntN(len(leases.Leases))].ID))
				}
				key := fmt.Sprintf("/registry/%d/%d", w, random.IntN(2000))
				if random.IntN(12) == 0 {
					_, err := c.Delete(ctx, key)
					if err != nil {
						r.Error(err)
						return
					}
				}
				p, err := c.Put(ctx, key, string(value), options...)
				if err != nil {
					r.Error(err)
					return
				}
				mu.Lock()
				last = max(last, p.Header.Revision)
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	r.compacted = last / 4
	if _, err := c.Compact(ctx, r.compacted, clientv3.WithCompactPhysical()); err != nil {
		r.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := c.UserAdd(ctx, "reader", "reads"); return err },
		func() error { _, err := c.RoleAdd(ctx, "reading"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "reading", "/registry/", clientv3.GetPrefixRangeEnd("/registry/"),
				clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := c.UserGrantRole(ctx, "reader", "reading"); return err },
		func() error { _, err := c.RoleAdd(ctx, "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			r.Fatal(err)
		}
	}
	r.Logf("an etcd of %d bytes at revision %d, compacted at %d, after %v", *recipeFlag, last, r.compacted,
		time.Since(r.began).Round(time.Second))
}

// command is one of mimir's.
func (r *recipe) command(arguments ...string) *exec.Cmd {
	c := exec.CommandContext(r.Context(), r.binary, arguments...)
	c.Env = localfleet.Environment()
	return c
}

// run runs one to its end, and returns what it says.
func (r *recipe) run(arguments ...string) string {
	r.Helper()
	began := time.Now()
	c := r.command(arguments...)
	var out, failed bytes.Buffer
	c.Stdout, c.Stderr = &out, &failed
	if err := c.Run(); err != nil {
		r.Fatalf("mimir %s: %v\n%s%s", strings.Join(arguments, " "), err, out.String(), failed.String())
	}
	r.Logf("mimir %s: %v\n%s", strings.Join(arguments[:2], " "), time.Since(began).Round(time.Millisecond), &out)
	return out.String()
}

// begin runs one until it ends by itself.
func (r *recipe) begin(arguments ...string) (ended <-chan error) {
	r.Helper()
	c, done := r.command(arguments...), make(chan error, 1)
	var failed bytes.Buffer
	c.Stderr = &failed
	if err := c.Start(); err != nil {
		r.Fatal(err)
	}
	go func() {
		err := c.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, failed.String())
		}
		done <- err
	}()
	return done
}

// equal runs one that compares until both are equal: it needs the fleet to have been reached by what follows.
func (r *recipe) equal(command string, arguments ...string) string {
	r.Helper()
	said := r.run(append(strings.Fields(command), arguments...)...)
	if !strings.Contains(said, "equal at revision ") {
		r.Fatalf("it says %s", said)
	}
	return said
}

// listened waits until nodes that were just started take connections.
func (r *recipe) listened(endpoints []string) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	for _, endpoint := range endpoints {
		for {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", endpoint)
			if err == nil {
				c.Close()
				break
			}
			if ctx.Err() != nil {
				r.Fatalf("a node was not up within a minute: %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

var equalAt = regexp.MustCompile(`equal at revision (\d+)`)

// verified is the revision at which they were equal.
func (r *recipe) verified(said string) string { return equalAt.FindStringSubmatch(said)[1] }

// written is what came of a client that writes.
type written struct {
	writes int
	err    error
}

// write has a client write until it is refused.
func (r *recipe) write() <-chan written {
	c, done := r.client(r.etcd), make(chan written, 1)
	go func() {
		for n := 0; ; n++ {
			_, err := c.Put(r.Context(), "/registry/living", strconv.Itoa(n))
			if errors.Is(err, rpctypes.ErrTimeout) { // an etcd may say so of what was on its way when it was fenced
				continue
			}
			if err != nil {
				done <- written{n, err}
				return
			}
		}
	}()
	return done
}

// sameHashes asks both etcds for HashKV at some revisions.
func (r *recipe) sameHashes(again string) {
	r.Helper()
	own, restored := r.client(r.etcd), r.client(again)
	now, err := own.Get(r.Context(), "none")
	if err != nil {
		r.Fatal(err)
	}
	for i := range int64(4) {
		at := r.compacted + 1 + (now.Header.Revision-r.compacted-1)*i/3
		a, err := own.HashKV(r.Context(), r.etcd, at)
		b, other := restored.HashKV(r.Context(), again, at)
		if err != nil || other != nil || a.Hash != b.Hash {
			r.Errorf("hash at %d: %v, %v; %v, %v", at, a, err, b, other)
		}
	}
}
