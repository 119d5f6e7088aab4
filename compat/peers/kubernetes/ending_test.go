package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mimir-kv/mimir/server/admin"
)

// stored is where the API server keeps the objects that the judge makes.
const stored = "/registry/configmaps/" + namespace + "/"

// finish ends the story: clients stop, and everything that was acknowledged has to be where it belongs.
func (s *story) finish() {
	s.t.Helper()
	s.end()
	ctx := s.t.Context()
	if _, err := s.AwaitEqual(ctx); err != nil {
		s.t.Fatal(err)
	}
	list, err := s.admin.CoreV1().ConfigMaps(namespace).List(ctx, meta.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.resolve(list.Items)
	rescued, err := s.rescued(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.account(rescued)
	s.compare(ctx, resources(list.Items))
	for _, i := range s.caches {
		i.judge()
	}
	for _, problem := range s.judgement() {
		s.t.Error(problem)
	}
	if err := s.server.same(); err != nil {
		s.t.Error(err)
	}
	s.tellMetrics(ctx)
}

func resources(items []core.ConfigMap) map[string]string {
	all := map[string]string{}
	for _, o := range items {
		if isOurs(o.Name) {
			all[o.Name] = o.ResourceVersion
		}
	}
	return all
}

// resolve tells each line what its object is in the end, so that what is not in it any more is known to be lost.
func (s *story) resolve(items []core.ConfigMap) {
	there := map[string]bool{}
	for _, o := range items {
		if !isOurs(o.Name) {
			continue
		}
		there[o.Name] = true
		l := s.line(o.Name)
		version, number := versionOf(&o)
		s.wrong(l.resume(l.begin(), version, number))
	}
	for _, l := range s.all() {
		if !there[l.name] {
			l.mu.Lock()
			l.cut(0)
			l.mu.Unlock()
		}
	}
}

// rescued returns the versions that are in rescue files.
func (s *story) rescued(ctx context.Context) (map[string]bool, error) {
	versions := map[string]bool{}
	visit := func(w *admin.Write) error {
		// The value of a key is in base64, which hides a text in it: so the request is taken apart.
		var request any
		if err := json.Unmarshal(w.Request, &request); err != nil {
			return err
		}
		for _, value := range bytesOf(request) {
			for _, l := range s.all() {
				if !bytes.Contains(value, []byte(l.name)) {
					continue
				}
				for version := range l.acked {
					if bytes.Contains(value, []byte(version)) {
						versions[version] = true
					}
				}
			}
		}
		return nil
	}
	for _, r := range s.Regions {
		if err := s.Tails(ctx, r, visit); err != nil {
			return nil, err
		}
	}
	return versions, nil
}

// account wants every acknowledged version to be in the history, or, where a failover may lose some, in a rescue file.
func (s *story) account(rescued map[string]bool) {
	acked, missing := 0, 0
	for _, l := range s.all() {
		acked += len(l.acked)
		for _, version := range l.missing() {
			missing++
			if !s.lossy {
				s.t.Errorf("%s: %s was acknowledged, and is lost", l.name, version)
			} else if !rescued[version] {
				s.t.Errorf("%s: %s was acknowledged, and is neither in the history nor in a rescue file", l.name,
					version)
			}
		}
	}
	s.t.Logf("%d writes were acknowledged; %d of them were lost, and are in a rescue file", acked, missing)
	if s.lossy && missing == 0 {
		s.t.Error("nothing was lost: the story tested nothing")
	}
}

// compare wants everybody to have what a list has: the caches of clients, that of the API server, and the store.
func (s *story) compare(ctx context.Context, want map[string]string) {
	for _, i := range s.caches {
		if err := eventually(ctx, func(context.Context) error { return i.sameAs(want) }); err != nil {
			s.t.Error(err)
		}
	}
	if err := eventually(ctx, func(ctx context.Context) error {
		cached, err := s.admin.CoreV1().ConfigMaps(namespace).List(ctx, meta.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		return same("the API server's cache", resources(cached.Items), want)
	}); err != nil {
		s.t.Error(err)
	}
	for _, endpoint := range s.Endpoints() {
		if err := s.compareStore(ctx, endpoint, want); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *story) compareStore(ctx context.Context, endpoint string, want map[string]string) error {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := c.Get(ctx, stored, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	have := map[string]string{}
	for _, kv := range got.Kvs {
		if name := strings.TrimPrefix(string(kv.Key), stored); isOurs(name) {
			have[name] = strconv.FormatInt(kv.ModRevision, 10)
		}
	}
	return same(endpoint, have, want)
}

// toldMetrics are the API server's metrics that say how its caches fared.
var toldMetrics = []string{
	"apiserver_watch_cache_consistent_read_total", "apiserver_watch_cache_initializations_total",
	"apiserver_terminated_watchers_total", "etcd_request_errors_total", "process_start_time_seconds",
}

// tellMetrics prints what the API server counted of the objects of the story.
func (s *story) tellMetrics(ctx context.Context) {
	text, err := s.admin.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		s.t.Error(err)
		return
	}
	var lines []string
	for l := range strings.Lines(string(text)) {
		for _, name := range toldMetrics {
			ours := strings.Contains(l, `"configmaps"`) || !strings.Contains(l, "resource=")
			if ours && strings.HasPrefix(l, name) {
				lines = append(lines, strings.TrimSpace(l))
			}
		}
	}
	s.t.Logf("the API server counted:\n\t%s", strings.Join(lines, "\n\t"))
}

// bytesOf returns all fields of bytes of a request in the form of the etcd API's JSON.
func bytesOf(request any) (all [][]byte) {
	switch r := request.(type) {
	case map[string]any:
		for _, field := range r {
			all = append(all, bytesOf(field)...)
		}
	case []any:
		for _, one := range r {
			all = append(all, bytesOf(one)...)
		}
	case string:
		var value []byte
		if json.Unmarshal(fmt.Appendf(nil, "%q", r), &value) == nil {
			all = append(all, value)
		}
	}
	return all
}
