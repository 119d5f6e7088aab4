package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

var (
	strangersTime = flag.Duration("strangers", 0, "how long TestStrangers goes on; default: two seconds")
	strangersOf   = flag.String("attacks", "", "attacks of TestStrangers, separated by commas; default: all")
)

// Bounds of what strangers may cost a node, whatever they do.
const (
	mostMegabytes = 600 // more than at rest
	mostLines     = 40  // of the log, and one a second
	mostLeft      = 60  // descriptors and goroutines more than before, once they are gone
)

// Strangers do at all ports what they can, and a client goes on meanwhile. The node lives, remembers none of them once
// they are gone, and its log does not grow with them. For a minute, or for one attack:
//
//	go test ./e2e -run TestStrangers -v -timeout 0 -strangers 1m -attacks "rapid reset"
func TestStrangers(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes for some seconds")
	}
	h := openHouse(t)
	began, before := time.Now(), h.figures(t)
	duration := *strangersTime
	if duration == 0 {
		duration = 2 * time.Second
	}
	alone := h.measure(t, duration/4)
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	visits := h.invite(ctx)
	peak := make(chan figures)
	go func() { peak <- h.peak(ctx) }()
	disturbed := h.measure(t, duration)
	cancel()
	visits.Wait()
	highest := <-peak
	t.Logf("%d visits; a write and a read took %s alone, %s beside them", h.visits.Load(), alone, disturbed)
	t.Logf("before: %+v; highest: %+v", before, highest)
	if highest.megabytes > before.megabytes+mostMegabytes {
		t.Errorf("the node grew to %d MB", highest.megabytes)
	}
	after := h.calm(t, before)
	took := time.Since(began)
	t.Logf("after %s: %+v", took, after)
	if more := after.lines - before.lines; more > mostLines+int(took/time.Second) {
		text, _ := os.ReadFile(h.node.LogPath())
		t.Errorf("the log has %d lines more:\n%s", more, text)
	}
}

// house is two regions of a node and a witness, of which one node is visited.
type house struct {
	node   *localfleet.Node
	all    []*localfleet.Node
	ports  map[string]string
	client *clientv3.Client
	visits atomic.Int64
}

func openHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	binary := built(t)
	cert, key := selfSigned(t, dir)
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{binary, "serve", "--http-tls-cert", cert, "--http-tls-key", key},
		Witness: []string{binary, "witness"}, Lease: "30s", Patience: "1s", Regions: []string{"us", "eu"}, Nodes: 1,
		Direct: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{node: f.Regions[0].Nodes[0], all: append(f.Nodes(), f.Witness)}
	ports := localfleet.AnyPorts()
	t.Cleanup(func() {
		localfleet.Kill(h.all)
		f.Close()
		ports.Close()
	})
	for _, n := range f.Nodes() {
		addrs, err := ports.Next(1)
		if err != nil {
			t.Fatal(err)
		}
		n.Config.ListenHTTP = addrs[0]
		if err := n.Save(); err != nil {
			t.Fatal(err)
		}
	}
	if err := localfleet.Start(h.all); err != nil {
		t.Fatal(err)
	}
	c := h.node.Config
	h.ports = map[string]string{"client": c.ListenClient, "peer": c.ListenPeer, "http": c.ListenHTTP,
		"witness": f.Witness.Config.ListenPeer}
	h.client, err = clientv3.New(clientv3.Config{Endpoints: []string{c.ListenClient}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.client.Close() })
	within := time.Now().Add(time.Minute)
	for h.write(t.Context()) != nil {
		if time.Now().After(within) {
			t.Fatal("the fleet takes no writes")
		}
	}
	return h
}

// selfSigned makes a certificate, and its key.
func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "http.crt"), filepath.Join(dir, "http.key")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// write is a write and a read of the well-behaved client.
func (h *house) write(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if _, err := h.client.Put(ctx, "k", strings.Repeat("v", 100)); err != nil {
		return err
	}
	_, err := h.client.Get(ctx, "k")
	return err
}

// pace are the times of a client.
type pace []time.Duration

func (l pace) String() string {
	slices.Sort(l)
	return fmt.Sprintf("%v (half of %d), %v (99 of 100)", l[len(l)/2], len(l), l[len(l)*99/100])
}

// measure lets the client write and read for so long. None of it may fail.
func (h *house) measure(t *testing.T, d time.Duration) (list pace) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) || len(list) == 0; {
		began := time.Now()
		if err := h.write(t.Context()); err != nil {
			t.Fatalf("a client beside strangers: %v; %s", err, h.node.LastWords())
		}
		list = append(list, time.Since(began))
	}
	return list
}

// guestsAtOnce are how many strangers do each thing at each port at a time.
const guestsAtOnce = 2

// invite lets strangers come until ctx ends.
func (h *house) invite(ctx context.Context) *sync.WaitGroup {
	var all sync.WaitGroup
	for i, s := range strangers {
		if *strangersOf != "" && !slices.Contains(strings.Split(*strangersOf, ","), s.name) {
			continue
		}
		for _, port := range s.where {
			for g := range guestsAtOnce {
				random := mathrand.New(mathrand.NewPCG(uint64(i), uint64(g)))
				all.Go(func() {
					for ctx.Err() == nil {
						h.visit(ctx, s, port, random)
					}
				})
			}
		}
	}
	return &all
}

// strangersDialer has strangers come from another address than clients where a machine has one by itself.
var strangersDialer = func() (d net.Dialer) {
	if runtime.GOOS == "linux" {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	}
	return d
}()

func (h *house) visit(ctx context.Context, s stranger, port string, random *mathrand.Rand) {
	c, err := strangersDialer.DialContext(ctx, "tcp", h.ports[port])
	if err != nil {
		return
	}
	h.visits.Add(1)
	defer context.AfterFunc(ctx, func() { c.Close() })()
	s.do(&visit{c, ctx, random})
	c.Close()
}

// figures are what the node needs.
type figures struct{ megabytes, descriptors, goroutines, lines int }

func (h *house) figures(t *testing.T) figures {
	t.Helper()
	f, err := h.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (h *house) look(ctx context.Context) (f figures, err error) {
	values, err := h.scrape(ctx)
	if err != nil {
		return f, err
	}
	f.megabytes = int(values["process_resident_memory_bytes"] / (1 << 20))
	f.descriptors, f.goroutines = int(values["process_open_fds"]), int(values["go_goroutines"])
	log, err := os.ReadFile(h.node.LogPath())
	f.lines = strings.Count(string(log), "\n")
	return f, err
}

// scrape returns the node's metrics that have no labels.
func (h *house) scrape(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+h.ports["http"]+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	a, err := one.Do(r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	values := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = n
		}
	}
	return values, err
}

// peak returns the most of each until ctx ends.
func (h *house) peak(ctx context.Context) (most figures) {
	for ctx.Err() == nil {
		if f, err := h.look(ctx); err == nil {
			most.megabytes = max(most.megabytes, f.megabytes)
			most.descriptors = max(most.descriptors, f.descriptors)
			most.goroutines = max(most.goroutines, f.goroutines)
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return most
}

// calm waits until the node has forgotten its strangers.
func (h *house) calm(t *testing.T, before figures) (f figures) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		for _, n := range h.all {
			if !n.Running() {
				t.Fatalf("%s has ended: %s", n.Config.Name, n.LastWords())
			}
		}
		f = h.figures(t)
		if runtime.GOOS != "linux" ||
			f.descriptors <= before.descriptors+mostLeft && f.goroutines <= before.goroutines+mostLeft {
			return f
		}
		if time.Now().After(until) {
			t.Fatalf("%s later there is %+v, before there was %+v", patience, f, before)
		}
	}
}
