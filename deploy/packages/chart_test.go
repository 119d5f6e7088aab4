//go:build unix

package packages

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/mimir-kv/mimir/deploy/packages/chart"
	"github.com/mimir-kv/mimir/server"
)

// namespace is where the releases of these tests are.
const namespace = "stores"

// objects are what a release consists of.
type objects struct {
	nodes    appsv1.StatefulSet
	config   corev1.ConfigMap
	services map[string]corev1.Service
	budget   *policyv1.PodDisruptionBudget
}

// render renders a release, decodes what comes out by Kubernetes' own types, which take no field that they do not have,
// and holds it against itself.
func render(t *testing.T, name string, values map[string]any) *objects {
	t.Helper()
	texts, err := chart.Render(stamp, chart.Release{Name: name, Namespace: namespace, Values: values})
	if err != nil {
		t.Fatal(err)
	}
	o := &objects{services: map[string]corev1.Service{}}
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		if !strings.HasSuffix(path, ".yaml") {
			continue
		}
		for _, text := range strings.Split(texts[path], "\n---\n") {
			if strings.TrimSpace(text) != "" {
				o.decode(t, path, text)
			}
		}
	}
	o.agree(t)
	return o
}

func (o *objects) decode(t *testing.T, path, text string) {
	t.Helper()
	var kind struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(text), &kind); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, text)
	}
	var into any
	switch kind.APIVersion + " " + kind.Kind {
	case "apps/v1 StatefulSet":
		into = &o.nodes
	case "v1 ConfigMap":
		into = &o.config
	case "v1 Service":
		into = &corev1.Service{}
	case "policy/v1 PodDisruptionBudget":
		o.budget = &policyv1.PodDisruptionBudget{}
		into = o.budget
	default:
		t.Fatalf("%s has a %s of %s", path, kind.Kind, kind.APIVersion)
	}
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, text)
	}
	if s, ok := into.(*corev1.Service); ok {
		o.services[s.Name] = *s
	}
}

// agree holds what names something against what it names.
func (o *objects) agree(t *testing.T) {
	t.Helper()
	pod := o.nodes.Spec.Template
	selects := func(who string, labels map[string]string) {
		t.Helper()
		for k, v := range labels {
			if k != "statefulset.kubernetes.io/pod-name" && pod.Labels[k] != v {
				t.Errorf("%s selects %s=%s, pods have %q", who, k, v, pod.Labels[k])
			}
		}
	}
	selects("the set", o.nodes.Spec.Selector.MatchLabels)
	if o.budget != nil {
		selects("the budget", o.budget.Spec.Selector.MatchLabels)
	}
	for _, c := range pod.Spec.TopologySpreadConstraints {
		selects("spread over "+c.TopologyKey, c.LabelSelector.MatchLabels)
	}
	ports := map[string]int32{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	for name, s := range o.services {
		selects(name, s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			if ports[p.TargetPort.StrVal] != p.Port {
				t.Errorf("%s: port %d leads to %s", name, p.Port, p.TargetPort.String())
			}
		}
	}
	c := pod.Spec.Containers[0]
	for kind, p := range map[string]*corev1.Probe{
		"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe, "/livez at the start": c.StartupProbe,
	} {
		path, _, _ := strings.Cut(kind, " ")
		if p == nil || p.HTTPGet.Path != path || ports[p.HTTPGet.Port.StrVal] == 0 {
			t.Errorf("probe %s: %+v", kind, p)
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for _, v := range o.nodes.Spec.VolumeClaimTemplates {
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("%s is mounted and not there", m.Name)
		}
		delete(volumes, m.Name)
	}
	if len(volumes) > 0 {
		t.Errorf("%v are not mounted", volumes)
	}
	peers, there := o.services[o.nodes.Spec.ServiceName]
	if !there || !peers.Spec.PublishNotReadyAddresses || peers.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("nodes find each other by %+v", peers.Spec)
	}
}

// variables returns the environment of the pod of a node, as Kubernetes makes it.
func (o *objects) variables(t *testing.T, number int) map[string]string {
	t.Helper()
	pod := fmt.Sprintf("%s-%d", o.nodes.Name, number)
	values := map[string]string{}
	for _, e := range o.nodes.Spec.Template.Spec.Containers[0].Env {
		value := e.Value
		if e.ValueFrom != nil {
			if e.ValueFrom.FieldRef.FieldPath != "metadata.name" {
				t.Fatalf("%s is of %+v", e.Name, e.ValueFrom)
			}
			value = pod
		}
		for name, known := range values { // those above it
			value = strings.ReplaceAll(value, "$("+name+")", known)
		}
		values[e.Name] = value
	}
	return values
}

// file returns the configuration file that the pod of a node has, as Kubernetes mounts it.
func (o *objects) file(t *testing.T, number int) string {
	t.Helper()
	for _, m := range o.nodes.Spec.Template.Spec.Containers[0].VolumeMounts {
		if m.Name != "config" {
			continue
		}
		path := m.SubPathExpr
		for name, value := range o.variables(t, number) {
			path = strings.ReplaceAll(path, "$("+name+")", value)
		}
		if text, there := o.config.Data[path]; there {
			return text
		}
		t.Fatalf("node %d has %q mounted, which is not there", number, path)
	}
	t.Fatal("no configuration is mounted")
	return ""
}

// loaded returns what a node says of its settings.
func (o *objects) loaded(t *testing.T, number int) *server.Config {
	t.Helper()
	return load(t, o.file(t, number), o.variables(t, number))
}

// load returns what a node makes of a file and of variables.
func load(t *testing.T, text string, variables map[string]string) *server.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mimir.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := server.Load(file, func(name string) (string, bool) { v, ok := variables[name]; return v, ok }, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// One region: every node knows the others, and what keeps a quorum is there.
func TestAReleaseIsARegion(t *testing.T) {
	o := render(t, "mimir", map[string]any{"region": "us"})
	for i := range 3 {
		c := o.loaded(t, i)
		name := fmt.Sprintf("mimir-us-%d", i)
		at := name + ".mimir-us-peers.stores.svc"
		if c.Replication.NodeID != name || c.Replication.PeerAddr != at+":2380" || len(c.Replication.Nodes) != 3 ||
			c.Replication.Nodes[name] != at+":2380" || c.AdvertiseClient != at+":2379" {
			t.Errorf("node %d: %q at %q and %q, of %v", i, c.Replication.NodeID, c.Replication.PeerAddr,
				c.AdvertiseClient, c.Replication.Nodes)
		}
	}
	spec := o.nodes.Spec
	pod := spec.Template.Spec
	security := pod.Containers[0].SecurityContext
	switch {
	case spec.PodManagementPolicy != appsv1.ParallelPodManagement:
		t.Error("nodes wait for each other to be ready, and none is before all run")
	case o.budget == nil || o.budget.Spec.MaxUnavailable.IntValue() != 1 ||
		o.budget.Spec.UnhealthyPodEvictionPolicy == nil ||
		*o.budget.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow:
		t.Errorf("budget %+v", o.budget)
	case len(pod.TopologySpreadConstraints) != 2:
		t.Errorf("spread %+v", pod.TopologySpreadConstraints)
	case *pod.EnableServiceLinks || *pod.AutomountServiceAccountToken:
		t.Error("a pod is given what is not for it")
	case !*pod.SecurityContext.RunAsNonRoot || !*security.ReadOnlyRootFilesystem || *security.AllowPrivilegeEscalation:
		t.Errorf("security %+v, %+v", pod.SecurityContext, security)
	case spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted != appsv1.RetainPersistentVolumeClaimRetentionPolicyType:
		t.Error("what nodes keep goes with the release")
	case pod.Containers[0].Image != "mimir:"+stamp.Version:
		t.Errorf("image %s", pod.Containers[0].Image)
	}
}

// Two regions in two clusters: each knows the other by names that both can resolve, and secrets and services go along.
func TestReleasesOfTwoClusters(t *testing.T) {
	values := func(region, other string) map[string]any {
		return map[string]any{
			"region": region, "initialPrimary": "us",
			"regions": map[string]any{other: []any{
				"mimir-" + other + "-0." + other + ".example.net:2380",
				"mimir-" + other + "-1." + other + ".example.net:2380",
			}},
			"hosts": map[string]any{"peer": "{name}." + region + ".example.net"},
			"tls": map[string]any{
				"client": map[string]any{"secretName": "mimir-client", "requireClientCert": true},
				"peer":   map[string]any{"secretName": "mimir-peer"},
			},
			"nodeServices": map[string]any{
				"enabled":     true,
				"annotations": map[string]any{"external-dns/hostname": "{name}." + region + ".example.net"},
			},
			"config": map[string]any{"operator": map[string]any{"allowed-cn": []any{"operator"}}, "priority": 200},
		}
	}
	for region, other := range map[string]string{"us": "eu", "eu": "us"} {
		o := render(t, "mimir-"+region, values(region, other))
		c := o.loaded(t, 2)
		if at := "mimir-" + region + "-2." + region + ".example.net:2380"; c.Replication.PeerAddr != at ||
			len(c.Replication.Regions[other]) != 2 || c.Replication.InitialPrimary != "us" {
			t.Errorf("%s: at %q, regions %v, primary %q", region, c.Replication.PeerAddr, c.Replication.Regions,
				c.Replication.InitialPrimary)
		}
		if !c.ClientTLS.Enabled() || !c.PeerTLS.Enabled() || c.Failover.Priority != 200 {
			t.Errorf("%s: TLS for clients %v, for nodes %v, priority %d", region, c.ClientTLS.Enabled(),
				c.PeerTLS.Enabled(), c.Failover.Priority)
		}
		name := "mimir-" + region + "-1"
		s := o.services[name]
		if s.Spec.Selector["statefulset.kubernetes.io/pod-name"] != name || !s.Spec.PublishNotReadyAddresses ||
			s.Annotations["external-dns/hostname"] != name+"."+region+".example.net" {
			t.Errorf("service of %s: %+v", name, s)
		}
	}
}

// Values that would make a fleet that cannot be are refused when the release is installed.
func TestWhatCannotBeInstalled(t *testing.T) {
	eu := map[string]any{"eu": []any{"mimir-eu-0:2380"}}
	for _, test := range []struct {
		values map[string]any
		want   string
	}{
		{map[string]any{}, "region"},
		{map[string]any{"region": "us", "replicas": 2}, "replicas"},
		{map[string]any{"region": "us", "replica": 3}, "replica"},
		{map[string]any{"region": "US"}, "region"},
		{map[string]any{"region": "us", "regions": eu}, "initialPrimary is missing"},
		{map[string]any{"region": "us", "regions": eu, "initialPrimary": "ap"}, "neither this region nor"},
		{map[string]any{"region": "eu", "regions": eu, "initialPrimary": "eu"}, "it is for the others"},
		{map[string]any{"region": "us", "regions": map[string]any{"eu": []any{"mimir-eu-0"}}}, "regions"},
		{map[string]any{"region": "us", "hosts": map[string]any{"peer": "node.example.net"}}, "peer"},
		{map[string]any{"region": "us", "names": map[string]any{"3": "x"}}, "names has 3: the nodes are 0 to 2"},
		{map[string]any{"region": "us", "names": map[string]any{"x": "y"}}, "names"},
		{map[string]any{"region": "us", "names": map[string]any{"2": "mimir-us-1"}}, "another one has that name"},
		{map[string]any{"region": "us", "joining": []any{3}}, "joining has 3: the nodes are 0 to 2"},
		{map[string]any{"region": "us", "replicas": 1, "joining": []any{0}}, "joining has every node"},
	} {
		_, err := chart.Render(stamp, chart.Release{Name: "mimir", Namespace: namespace, Values: test.values})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.values, err, test.want)
		}
	}
}

// Helm finds nothing in the chart, and takes what was packed for the version that it is.
func TestHelmTakesTheChart(t *testing.T) {
	found := lint.RunAll("chart/mimir", map[string]any{"region": "us"}, namespace)
	for _, m := range found.Messages {
		if !strings.Contains(m.Error(), "icon is recommended") {
			t.Error(m)
		}
	}
	var b bytes.Buffer
	if err := chart.Write(stamp, &b); err != nil {
		t.Fatal(err)
	}
	c, err := loader.LoadArchive(&b)
	if err != nil {
		t.Fatal(err)
	}
	if c.Metadata.Version != stamp.Number() || c.Metadata.AppVersion != stamp.Version || c.Validate() != nil ||
		len(c.Templates) != 6 || len(c.Schema) == 0 {
		t.Errorf("version %s of %s, %d templates, %v", c.Metadata.Version, c.Metadata.AppVersion, len(c.Templates),
			c.Validate())
	}
}

// Two releases as they are rendered, each a container of the image: what is written in one region is read in the other.
func TestTheChartStartsTwoRegions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("each pod has a root of its own, and names that are known there alone: made by root alone")
	}
	at := addresses(t, 6)
	port := func(i int) int {
		_, number, _ := strings.Cut(at[i], ":")
		var n int
		fmt.Sscan(number, &n)
		return n
	}
	host := func(region string) string { return fmt.Sprintf("mimir-%s-0.mimir-%[1]s-peers.stores.svc", region) }
	archive := anImage(t)
	started := map[string]*node{}
	for i, region := range []string{"us", "eu"} {
		other, first, firstOfOther := []string{"eu", "us"}[i], 3*i, 3*(1-i)
		o := render(t, "mimir-"+region, map[string]any{
			"region": region, "replicas": 1, "initialPrimary": "us",
			"regions": map[string]any{other: []any{fmt.Sprintf("%s:%d", host(other), port(firstOfOther+1))}},
			"ports":   map[string]any{"client": port(first), "peer": port(first + 1), "http": port(first + 2)},
			"config": map[string]any{ // this machine has no network of pods
				"listen-client": at[first], "listen-peer": at[first+1], "listen-http": at[first+2],
			},
		})
		dir, config, _ := unpackImage(t, archive)
		for name, text := range map[string]string{
			"etc/mimir/mimir.yaml": o.file(t, 0),
			"etc/hosts":            "127.0.0.1 localhost " + host("us") + " " + host("eu") + "\n",
		} {
			anybodys(t, filepath.Join(dir, name), text)
		}
		var variables []string
		for name, value := range o.variables(t, 0) {
			variables = append(variables, name+"="+value)
		}
		container := o.nodes.Spec.Template.Spec.Containers[0]
		p := inImage(t, dir, config, container.Args, variables)
		check := *p
		check.arguments = append(slices.Clone(p.arguments), "--check")
		if out, status := check.run(t); status != 0 {
			t.Fatalf("mimir serve --check: %d\n%s\n%s", status, out, o.file(t, 0))
		}
		started[region] = p.start(t, at[first])
	}
	started["us"].holds(t)
	if got := started["eu"].get(t, "greeting"); got != "hello" {
		t.Errorf("in eu greeting is %q", got)
	}
}
