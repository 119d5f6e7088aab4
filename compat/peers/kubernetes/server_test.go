package kubernetes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mimir-kv/mimir/localfleet"
)

// token is shown by clients, who may do everything.
const token = "judge"

// server is a kube-apiserver that runs until the test ends.
type server struct {
	node   *localfleet.Node
	pid    int
	port   string
	config *rest.Config
}

// flags of a kube-apiserver that knows no other servers than these: docs/kubernetes.md has the same.
func flags(dir string, port, endpoints string) []string {
	return []string{
		"--etcd-servers=" + endpoints,
		"--bind-address=127.0.0.1", "--secure-port=" + port, "--advertise-address=192.0.2.1",
		"--cert-dir=" + dir,
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + filepath.Join(dir, "accounts.key"),
		"--service-account-signing-key-file=" + filepath.Join(dir, "accounts.key"),
		"--token-auth-file=" + filepath.Join(dir, "tokens"),
		"--authorization-mode=RBAC",
	}
}

// startServer starts an API server on the nodes at some addresses, and waits until it is ready.
func startServer(t *testing.T, endpoints []string) *server {
	t.Helper()
	dir := t.TempDir()
	if err := writeSecrets(dir); err != nil {
		t.Fatal(err)
	}
	ports := localfleet.AnyPorts()
	t.Cleanup(ports.Close)
	addresses, err := ports.Next(1)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	s := &server{
		node: &localfleet.Node{Dir: dir, Config: localfleet.Config{Name: "kube-apiserver"}}, port: port,
		config: &rest.Config{
			Host: "https://" + addresses[0], BearerToken: token, QPS: -1,
			TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		},
	}
	t.Cleanup(func() {
		s.node.Kill()
		if t.Failed() {
			log, _ := os.ReadFile(s.node.LogPath())
			path := filepath.Join(t.ArtifactDir(), "kube-apiserver.log")
			t.Logf("with -artifacts its log is kept: %s: %v", path, os.WriteFile(path, log, 0o644))
		}
	})
	began := time.Now()
	if err := s.start(t.Context(), endpoints); err != nil {
		t.Fatal(err)
	}
	t.Logf("the API server was ready after %s", time.Since(began).Round(time.Second))
	return s
}

// start starts the process on the store at some addresses, and waits until it is ready.
func (s *server) start(ctx context.Context, endpoints []string) error {
	var urls []string
	for _, e := range endpoints {
		urls = append(urls, "http://"+e)
	}
	s.node.Arguments = append([]string{*apiServer}, flags(s.node.Dir, s.port, strings.Join(urls, ","))...)
	if err := s.node.Start(); err != nil {
		return err
	}
	s.pid = s.node.PID()
	return s.awaitReady(ctx)
}

// move starts it anew on another store.
func (s *server) move(ctx context.Context, endpoints []string) error {
	s.node.Stop()
	return s.start(ctx, endpoints)
}

// writeSecrets writes the key of service accounts and the token of clients.
func writeSecrets(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if err := os.WriteFile(filepath.Join(dir, "accounts.key"), text, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "tokens"), []byte(token+",judge,1,system:masters\n"), 0o600)
}

// client returns a client with connections of its own.
func (s *server) client(t *testing.T) *clientset.Clientset {
	t.Helper()
	c, err := clientset.NewForConfig(rest.CopyConfig(s.config))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var errEnded = errors.New("the API server ended")

// same says whether it is still the process that was started.
func (s *server) same() error {
	if !s.node.Running() || s.node.PID() != s.pid {
		return fmt.Errorf("%w: %s: %s", errEnded, s.node.Exit(), s.node.LastWords())
	}
	return nil
}

// awaitReady waits until it says that it is ready.
func (s *server) awaitReady(ctx context.Context) error {
	c, err := clientset.NewForConfig(s.config)
	if err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		if err := s.same(); err != nil {
			return err
		}
		_, err := c.RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// patience is how long a state is waited for.
const patience = 4 * time.Minute

// eventually tries until it works, and returns why it did not in the end.
func eventually(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		attempt, done := context.WithTimeout(ctx, requestTimeout)
		err := try(attempt)
		done()
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", patience, err)
		case <-poll.C:
		}
	}
}

// TestFlagsAreDocumented wants the page about API servers to have the flags that are tried here, and no others of them.
func TestFlagsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.FromSlash("../../../docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, command, _ := strings.Cut(string(page), "\nkube-apiserver ")
	command, _, _ = strings.Cut(command, "```")
	names := func(words []string) (all []string) {
		for _, word := range words {
			if name, _, _ := strings.Cut(word, "="); strings.HasPrefix(name, "--") {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		return all
	}
	if tried, told := names(flags("", "", "")), names(strings.Fields(command)); !slices.Equal(tried, told) {
		t.Errorf("tried are %q, and the page has %q", tried, told)
	}
}
