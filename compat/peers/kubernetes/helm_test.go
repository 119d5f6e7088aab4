package kubernetes

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientset "k8s.io/client-go/kubernetes"

	"github.com/mimir-kv/mimir/compat/peers/fleet"
)

// helmRelease is the helm that "build" means.
const helmRelease = "v4.3.1"

var helmBinary = flag.String("helm", "",
	"the helm to run; \"build\": "+helmRelease+", from the module proxy; \"\": none")

// buildHelm builds helm in a module of its own.
func buildHelm(dir string) (binary string, err error) {
	file := "module helm\ngo 1.26.0\nrequire helm.sh/helm/v4 " + helmRelease + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(file), 0o644); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "helm")
	_, err = run(dir, "go", "build", "-mod=mod", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", binary,
		"helm.sh/helm/v4/cmd/helm")
	return binary, err
}

// stores is the namespace of docs/packages.md.
const stores = "stores"

// TestHelmInstallsTheChart has helm install the chart into an API server that runs on a fleet, by the commands of
// docs/packages.md as they stand there, and looks at what the API server made of it and what is in the store; and has
// it upgrade the release and take it away again. There is no kubelet: no pod runs.
func TestHelmInstallsTheChart(t *testing.T) {
	if *apiServer == "" || *helmBinary == "" {
		t.Skip("no -kube-apiserver, or no -helm")
	}
	f := fleet.Start(t, fleet.Options{Nodes: *nodes, Delay: delay})
	if _, _, err := f.AwaitServing(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, f.Endpoints())
	h := newHelm(t, s)
	one, two := h.commands()

	h.does(one, "STATUS: deployed")
	h.isInstalled(3, "images.example.net/mimir:v0.4.0", nil)
	for _, name := range []string{"statefulsets/stores/mimir-us", "services/specs/stores/mimir-us",
		"poddisruptionbudgets/stores/mimir-us", "configmaps/stores/mimir-us"} {
		for _, n := range f.Nodes() {
			h.isStored(n.Config.ListenClient, "/registry/"+name)
		}
	}
	h.does("helm list --namespace stores", "mimir-0.4.0")
	h.does("helm upgrade mimir mimir-chart-0.4.0.tgz --namespace stores --reuse-values --set config.log-level=debug",
		"REVISION: 2")
	if text := h.config("mimir-us"); !strings.Contains(text, "log-level: debug") {
		t.Errorf("upgraded, the nodes are told:\n%s", text)
	}
	h.isGone()

	h.does(two, "STATUS: deployed")
	h.isInstalled(3, "mimir:v0.4.0", []string{"mimir-us-0", "mimir-us-1", "mimir-us-2"})
	if text := h.config("mimir-us"); !strings.Contains(text, "mimir-eu-2.eu.example.net:2380") {
		t.Errorf("of the other region the nodes are told:\n%s", text)
	}
	h.isGone()
}

// helm is somebody who has helm, a chart and a file of values at hand.
type helm struct {
	t      *testing.T
	dir    string
	page   string
	client *clientset.Clientset
}

func newHelm(t *testing.T, s *server) *helm {
	t.Helper()
	h := &helm{t: t, dir: t.TempDir(), client: s.client(t)}
	page, err := os.ReadFile(filepath.FromSlash("../../../docs/packages.md"))
	if err != nil {
		t.Fatal(err)
	}
	h.page = string(page)
	_, values, _ := strings.Cut(h.page, "`us.yaml`:\n\n```yaml\n")
	values, _, _ = strings.Cut(values, "```")
	h.write("us.yaml", values)
	h.write("kubeconfig", fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: it,
contexts: [{name: it, context: {cluster: it, user: it}}],
clusters: [{name: it, cluster: {server: %q, insecure-skip-tls-verify: true}}],
users: [{name: it, user: {token: %s}}]}
`, s.config.Host, token))
	if err := os.Symlink(*helmBinary, filepath.Join(h.dir, "helm")); err != nil {
		t.Fatal(err)
	}
	chart, err := filepath.Abs("../../../deploy/packages/chart/mimir")
	if err != nil {
		t.Fatal(err)
	}
	h.does("helm lint --strict --set region=us "+chart, "0 chart(s) failed")
	h.does("helm package "+chart+" --version 0.4.0 --app-version v0.4.0", "")
	h.does("mv mimir-0.4.0.tgz mimir-chart-0.4.0.tgz", "")
	_, err = h.client.CoreV1().Namespaces().Create(t.Context(),
		&core.Namespace{ObjectMeta: meta.ObjectMeta{Name: stores}}, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// commands are those of helm that the page has: for one region, and for one of two.
func (h *helm) commands() (one, two string) {
	h.t.Helper()
	var list []string
	for _, line := range strings.Split(h.page, "\n") {
		if strings.HasPrefix(line, "helm ") {
			list = append(list, line)
		}
	}
	if len(list) != 2 {
		h.t.Fatalf("the page has the commands %q", list)
	}
	return list[0], list[1]
}

func (h *helm) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// does runs a command that has to end well, and to say something.
func (h *helm) does(command, says string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Dir = h.dir
	c.Env = append(os.Environ(), "PATH="+h.dir+string(os.PathListSeparator)+os.Getenv("PATH"),
		"KUBECONFIG="+filepath.Join(h.dir, "kubeconfig"), "HELM_CACHE_HOME="+h.dir, "HELM_CONFIG_HOME="+h.dir,
		"HELM_DATA_HOME="+h.dir)
	text, err := c.CombinedOutput()
	h.t.Logf("%s\n%s", command, text)
	if err != nil || !strings.Contains(string(text), says) {
		h.t.Fatalf("%s: %v, want %q", command, err, says)
	}
}

// isInstalled looks at what the API server made of a release, whose nodes have Services of their own of these names.
func (h *helm) isInstalled(replicas int32, image string, own []string) {
	t, ctx := h.t, h.t.Context()
	t.Helper()
	set, err := h.client.AppsV1().StatefulSets(stores).Get(ctx, "mimir-us", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template.Spec
	if *set.Spec.Replicas != replicas || len(pod.Containers) != 1 || pod.Containers[0].Image != image ||
		len(set.Spec.VolumeClaimTemplates) != 1 || pod.Containers[0].ReadinessProbe == nil {
		t.Errorf("the set is %+v", set.Spec)
	}
	services, err := h.client.CoreV1().Services(stores).List(ctx, meta.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, one := range services.Items {
		names = append(names, one.Name)
	}
	want := append([]string{"mimir-us", "mimir-us-peers"}, own...)
	slices.Sort(want)
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("the services are %q, want %q", names, want)
	}
	budget, err := h.client.PolicyV1().PodDisruptionBudgets(stores).Get(ctx, "mimir-us", meta.GetOptions{})
	if err != nil || *budget.Spec.MaxUnavailable != intstr.FromInt32(1) {
		t.Errorf("the budget is %+v, %v", budget, err)
	}
}

// config is what the nodes are told.
func (h *helm) config(name string) (text string) {
	h.t.Helper()
	m, err := h.client.CoreV1().ConfigMaps(stores).Get(h.t.Context(), name, meta.GetOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, one := range m.Data {
		text += one
	}
	return text
}

// isStored wants a node to have what is at a key.
func (h *helm) isStored(endpoint, key string) {
	h.t.Helper()
	err := eventually(h.t.Context(), func(ctx context.Context) error {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		defer c.Close()
		got, err := c.Get(ctx, key)
		if err == nil && got.Count != 1 {
			err = fmt.Errorf("%s has no %s", endpoint, key)
		}
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
}

// isGone takes the release away, of which nothing is left.
func (h *helm) isGone() {
	h.t.Helper()
	h.does("helm uninstall mimir --namespace stores", "uninstalled")
	sets, err := h.client.AppsV1().StatefulSets(stores).List(h.t.Context(), meta.ListOptions{})
	if err != nil || len(sets.Items) != 0 {
		h.t.Errorf("%v are left, %v", sets, err)
	}
	services, err := h.client.CoreV1().Services(stores).List(h.t.Context(), meta.ListOptions{})
	if err != nil || len(services.Items) != 0 {
		h.t.Errorf("%v are left, %v", services, err)
	}
}
