package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// What is in keys and values that no partial region may have, and in those that it has.
const (
	outsideMark = "NEVERLEAVES"
	insideMark  = "MAYLEAVE"
)

// partly is a fleet of two regions that a partial one follows, over wires on which everything is looked at.
type partly struct {
	*run
	us, eu *localfleet.Region
	edges  []*localfleet.Node
	at     []string // clients of edges
	wires  []*wire
	client *clientv3.Client // of the whole fleet
}

// A partial region holds what the fleet holds of its keys, and nothing of others, through kills of both ends, cuts,
// switchovers and a forced failover that loses something; it says so, and is refused as what it is not.
func TestAPartialRegion(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	ctx, dir := t.Context(), t.TempDir()
	binary := built(t)
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{binary, "serve"}, Regions: []string{"us", "eu"}, Nodes: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &partly{us: f.Regions[0], eu: f.Regions[1]}
	p.run = &run{Options: Options{Binary: binary, Dir: dir, Out: testWriter{t}}, fleet: f}
	p.report = report{out: p.Out, start: time.Now()}
	if err := p.start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		p.client.Close()
		localfleet.Kill(p.edges)
		for _, w := range p.wires {
			w.Close()
		}
	}()
	if err := p.story(ctx); err != nil {
		for _, n := range append(f.Nodes(), p.edges...) {
			t.Logf("%s: %s", n.Config.Name, n.LastWords())
		}
		t.Fatal(err)
	}
}

const partialSecret = "0123456789abcdef0123456789abcdef"

// start starts the fleet, and lays out two nodes of a partial region, of which none runs.
func (p *partly) start(ctx context.Context) error {
	regions, secret := filepath.Join(p.Dir, "partial"), filepath.Join(p.Dir, "secret")
	err := errors.Join(os.WriteFile(regions, []byte("edge "+partialSecret+" /a/ /c/\n"), 0o600),
		os.WriteFile(secret, []byte(partialSecret+"\n"), 0o600))
	for _, r := range p.fleet.Regions {
		for _, n := range r.Nodes {
			n.Config.PartialRegionsFile = regions
			w, failed := newWire(n.Config.ListenClient)
			err = errors.Join(err, failed)
			p.wires = append(p.wires, w)
		}
		err = errors.Join(err, r.Save())
	}
	if err != nil {
		return err
	}
	ports := localfleet.AnyPorts()
	defer ports.Close()
	for i := range 2 {
		name := fmt.Sprint("edge-", i+1)
		place, err := localfleet.PlaceOn(ports, filepath.Join(p.Dir, name))
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(p.Dir, name), 0o700); err != nil {
			return err
		}
		p.at = append(p.at, place.Client)
		p.edges = append(p.edges, &localfleet.Node{
			Dir: filepath.Join(p.Dir, name), Config: localfleet.Config{Name: name, DataDir: place.DataDir},
			Arguments: []string{p.Binary, "partial", "serve", "--region", "edge", "--name", name, "--prefix", "/a/",
				"--prefix", "/c/", "--from", p.wires[0].addr() + "," + p.wires[1].addr(), "--secret-file", secret,
				"--listen", place.Client, "--data-dir", place.DataDir, "--compare-every", "1s"},
		})
	}
	if err := errors.Join(localfleet.Start(p.fleet.Nodes()), p.awaitServing(ctx)); err != nil {
		return err
	}
	p.client, err = connect(localfleet.Clients(p.fleet.Nodes())...)
	return err
}

func (p *partly) story(ctx context.Context) error {
	if err := p.write(ctx, "first", 50); err != nil {
		return err
	}
	steps := []struct {
		what string
		does func(ctx context.Context) error
	}{
		{"two nodes of a partial region come", func(context.Context) error { return localfleet.Start(p.edges) }},
		{"it says what it is", p.says},
		{"a node of it is killed, and comes back", func(context.Context) error {
			p.edges[0].Kill()
			return p.edges[0].Start()
		}},
		{"a node of it is told to read its files anew", func(context.Context) error {
			return p.hangUp(p.edges[0])
		}},
		{"the wire to the primary is cut", func(context.Context) error {
			p.wires[0].cut()
			return nil
		}},
		{"the primary moves", p.moves("eu")},
		{"the region that it follows is killed, and comes back", func(ctx context.Context) error {
			localfleet.Kill(p.us.Nodes)
			return errors.Join(localfleet.Start(p.us.Nodes), p.awaitServing(ctx))
		}},
		{"the primary moves back", p.moves("us")},
		{"a failover loses what it has", p.loses},
		{"the lost region comes back", func(ctx context.Context) error {
			return errors.Join(localfleet.Start(p.us.Nodes), p.awaitServing(ctx))
		}},
		{"a node of it stops in good order, and comes back", func(context.Context) error {
			if status := p.edges[1].Stop(); status != 0 {
				return fmt.Errorf("exit status %d", status)
			}
			return p.edges[1].Start()
		}},
	}
	for i, step := range steps {
		p.line("%s", step.what)
		if err := step.does(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		if err := errors.Join(p.write(ctx, fmt.Sprint("step", i), 20), p.equal(ctx)); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return p.leaks()
}

// hangUp sends a node what has others read their files anew.
func (p *partly) hangUp(n *localfleet.Node) error {
	process, err := os.FindProcess(n.PID())
	if err == nil {
		err = process.Signal(syscall.SIGHUP)
	}
	return err
}

func (p *partly) moves(to string) func(context.Context) error {
	return func(ctx context.Context) error {
		var report any
		return p.operate(ctx, &report, "switchover", "--to", to)
	}
}

// write writes within and without the prefixes, some of it in one transaction.
func (p *partly) write(ctx context.Context, name string, count int) error {
	for i := range count {
		_, err := p.client.Txn(ctx).Then(
			clientv3.OpPut(fmt.Sprintf("/a/%s/%d", name, i), insideMark),
			clientv3.OpPut(fmt.Sprintf("/b/%s/%s%d", name, outsideMark, i), outsideMark),
			clientv3.OpPut(fmt.Sprintf("/c/%d", i), insideMark+name),
			clientv3.OpDelete(fmt.Sprintf("/a/%s/%d", name, i-5)),
		).Commit()
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// equal waits until every node of the partial region holds what the fleet holds of its keys at one revision.
func (p *partly) equal(ctx context.Context) error {
	for i, at := range p.at {
		err := p.await(ctx, fmt.Sprintf("node %d holds what the fleet holds", i+1), func(ctx context.Context) string {
			if err := p.compare(ctx, at); err != nil {
				return err.Error()
			}
			return ""
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *partly) compare(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	edge, err := connect(at)
	if err != nil {
		return err
	}
	defer edge.Close()
	for _, prefix := range []string{"/a/", "/c/"} {
		want, err := p.client.Get(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		got, err := edge.Get(ctx, prefix, clientv3.WithPrefix()) // linearizable
		if err != nil {
			return err
		}
		if w, g := textOf(want.Kvs), textOf(got.Kvs); w != g || len(want.Kvs) == 0 {
			return fmt.Errorf("%d keys with %s at %d, and %d at %d", len(got.Kvs), prefix, got.Header.Revision,
				len(want.Kvs), want.Header.Revision)
		}
	}
	if _, err := edge.Get(ctx, "/b/", clientv3.WithPrefix()); err == nil ||
		!strings.Contains(err.Error(), "follows only /a/, /c/") {
		return fmt.Errorf("a read outside: %w", err)
	}
	return nil
}

func textOf(kvs []*mvccpb.KeyValue) string {
	var b strings.Builder
	for _, one := range kvs {
		fmt.Fprintln(&b, one)
	}
	return b.String()
}

// says checks what the fleet and the region itself say of it, and that it is refused as what it is not.
func (p *partly) says(ctx context.Context) error {
	var status struct {
		Partial []struct {
			Name     string
			Prefixes []string
			Nodes    []struct {
				Node, Source string
				LagSeconds   float64
			}
		}
		Regions []struct{ Name string }
	}
	err := p.await(ctx, "status tells of it", func(ctx context.Context) string {
		if err := p.operate(ctx, &status, "status"); err != nil {
			return err.Error()
		}
		if len(status.Partial) != 1 || len(status.Partial[0].Nodes) != 2 || status.Partial[0].Nodes[1].LagSeconds < 0 {
			return fmt.Sprintf("it says %+v", status)
		}
		return ""
	})
	if err != nil {
		return err
	}
	if len(status.Regions) != 2 || strings.Join(status.Partial[0].Prefixes, " ") != "/a/ /c/" {
		return fmt.Errorf("status says %+v", status)
	}
	fleet := strings.Join(localfleet.Clients(p.fleet.Nodes()), ",")
	for _, one := range []struct {
		want      string
		status    int
		arguments []string
	}{
		{"partial region edge: follows only /a/, /c/; never primary", 0, []string{"status", "--endpoints", fleet}},
		{"partial region edge: follows only /a/, /c/", 0, []string{"region", "list", "--endpoints", fleet}},
		{"edge is a partial region", 1, []string{"switchover", "--to", "edge", "--endpoints", fleet}},
		{"edge is a partial region", 1, []string{"failover", "--to", "edge", "--force", "--endpoints", fleet}},
		{"edge is a partial region", 1, []string{"region", "add", "edge", "--peers", "127.0.0.1:1", "--endpoints",
			fleet}},
		{"edge is a partial region", 1, []string{"region", "move", "eu", "--source", "edge", "--endpoints", fleet}},
		{"not compared: partial region edge", 0, []string{"verify", "--endpoints", fleet}},
		{"equal to its source", 0, []string{"partial", "status", "--endpoints", p.at[0]}},
		{"this is a node of partial region edge", 1, []string{"status", "--endpoints", p.at[1]}},
	} {
		err := p.await(ctx, strings.Join(one.arguments, " "), func(ctx context.Context) string {
			status, out, errs, err := p.mimir(ctx, one.arguments...)
			if err != nil || status != one.status || !strings.Contains(out+errs, one.want) {
				return fmt.Sprintf("exit status %d, %v: %s%s", status, err, out, errs)
			}
			return ""
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loses has the partial region hold what a forced failover loses.
func (p *partly) loses(ctx context.Context) error {
	p.wires[0].heal()
	p.wires[1].cut() // it follows us
	if err := p.equal(ctx); err != nil {
		return err
	}
	p.fleet.Cut("us", "eu")
	us, err := connect(localfleet.Clients(p.us.Nodes)...)
	if err != nil {
		return err
	}
	defer us.Close()
	for i := range 20 {
		if _, err := us.Put(ctx, fmt.Sprint("/a/lost/", i), insideMark); err != nil {
			return err
		}
	}
	err = p.await(ctx, "it has what will be lost", func(ctx context.Context) string {
		for _, at := range p.at {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			edge, err := connect(at)
			if err != nil {
				return err.Error()
			}
			defer edge.Close()
			got, err := edge.Get(ctx, "/a/lost/", clientv3.WithPrefix(), clientv3.WithSerializable())
			if err != nil || len(got.Kvs) != 20 {
				return fmt.Sprint(got, err)
			}
		}
		return ""
	})
	if err != nil {
		return err
	}
	localfleet.Kill(p.us.Nodes)
	p.fleet.Heal("us", "eu")
	p.wires[1].heal()
	status, out, errs, err := p.mimir(ctx, "failover", "--to", "eu", "--force", "--endpoints",
		strings.Join(localfleet.Clients(p.eu.Nodes), ","))
	if err != nil || status != 0 {
		return fmt.Errorf("failover: exit status %d, %w: %s%s", status, err, out, errs)
	}
	return nil
}

// leaks looks for what is outside on the wires, in the directories and in the logs, and for what is inside, so that it
// would be found.
func (p *partly) leaks() error {
	inside, wired := 0, 0
	look := func(where string, text []byte) error {
		if bytes.Contains(text, []byte(insideMark)) {
			inside++
		}
		if bytes.Contains(text, []byte(outsideMark)) {
			return fmt.Errorf("what is outside is in %s", where)
		}
		return nil
	}
	for _, w := range p.wires {
		w.mu.Lock()
		err := look("the wire to "+w.to, w.carried.Bytes())
		w.mu.Unlock()
		if err != nil {
			return err
		}
	}
	if wired = inside; wired != len(p.wires) {
		return fmt.Errorf("what is inside is found on %d wires", wired)
	}
	for _, n := range p.edges {
		if status := n.Stop(); status != 0 {
			return fmt.Errorf("%s: exit status %d", n.Config.Name, status)
		}
		err := filepath.WalkDir(n.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			return errors.Join(err, look(path, text))
		})
		if err != nil {
			return err
		}
	}
	if inside == wired {
		return errors.New("what is inside is found in no file")
	}
	p.line("nothing of other keys is on %d wires or in the directories; what is followed is in %d of them", wired,
		inside)
	return nil
}

// wire is a way to a node that keeps what comes from it, and can be cut.
type wire struct {
	net.Listener
	to string

	mu      sync.Mutex
	carried bytes.Buffer
	conns   map[net.Conn]bool // nil: it is cut
}

func newWire(to string) (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{Listener: l, to: to, conns: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(c)
		}
	}()
	return w, nil
}

func (w *wire) addr() string { return w.Addr().String() }

// keep takes note of a connection, unless the wire is cut.
func (w *wire) keep(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns != nil {
		w.conns[c] = true
	}
	return w.conns != nil
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = map[net.Conn]bool{}
}

func (w *wire) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer far.Close()
	if !w.keep(near) {
		return
	}
	go func() {
		defer far.Close()
		buffer := make([]byte, 32<<10)
		for {
			n, err := near.Read(buffer)
			if _, failed := far.Write(buffer[:n]); err != nil || failed != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := far.Read(buffer)
		w.mu.Lock()
		w.carried.Write(buffer[:n])
		w.mu.Unlock()
		if _, failed := near.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}
