package compat

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/server/telemetry"
)

// paged is what a page says: the status, the headers that tell what it is, and the body.
type paged struct {
	code                        int
	kind, sniff, allow, content string
}

func visit(t *testing.T, method, url string) paged {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	h := answer.Header
	return paged{answer.StatusCode, h.Get("Content-Type"), h.Get("X-Content-Type-Options"), h.Get("Allow"),
		unordered(string(body))}
}

// unordered returns the lines of a page without what Mimir has beside etcd, in one order: etcd makes its checks in any.
func unordered(body string) string {
	lines := strings.SplitAfter(body, "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "[+]node_health ") })
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// What there is to read over HTTP about health and versions is etcd's, to the byte: in good health, and with an alarm.
func TestPages(t *testing.T) {
	theirs := startEtcd(t, "simple")
	for end := time.Now().Add(time.Minute); !strings.Contains(visit(t, "GET", "http://"+theirs+"/version").content,
		`"storage":"3.7.0"`); time.Sleep(50 * time.Millisecond) { // it learns that a while after its start
		if time.Now().After(end) {
			t.Fatal("etcd does not say its storage's version")
		}
	}
	node := etcdapitest.Start(t, etcdapi.Limits{})
	handler, err := node.API.HTTPHandler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ours := httptest.NewServer(handler)
	t.Cleanup(ours.Close)
	compare := func(when string) {
		t.Helper()
		for _, path := range []string{
			"/version", "/version/",
			"/health", "/health?exclude=NOSPACE", "/health?exclude=nospace", "/health?exclude=",
			"/health?exclude=CORRUPT&exclude=NOSPACE", "/health?serializable=true", "/health?serializable=TRUE",
			"/health?serializable=true&exclude=NOSPACE", "/health/",
			"/livez", "/livez?verbose", "/livez?verbose=false", "/livez?exclude=serializable_read&verbose", "/livez/",
			"/livez/serializable_read", "/livez/serializable_read?verbose", "/livez/serializable_read/", "/livez/none",
			"/livez/linearizable_read", "/readyz", "/readyz?verbose", "/readyz?verbose&exclude=linearizable_read",
			"/readyz?exclude=none&verbose", "/readyz?exclude=", "/readyz/data_corruption",
			"/readyz/data_corruption?verbose", "/readyz/serializable_read?verbose", "/readyz/linearizable_read?verbose",
			"/readyz/non_learner?verbose", "/readyz/non_learner?exclude=non_learner&verbose", "/readyz/none",
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
				want, got := visit(t, method, "http://"+theirs+path), visit(t, method, ours.URL+path)
				if got != want {
					t.Errorf("%s, %s %s:\netcd  %+v\nmimir %+v", when, method, path, want, got)
				}
			}
		}
	}
	compare("in good health")
	raise := &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 1, Alarm: pb.AlarmType_NOSPACE}
	for name, address := range map[string]string{"etcd": theirs, "mimir": node.Endpoint} {
		if _, err := dial(t, name, address).maintain.Alarm(t.Context(), raise); err != nil {
			t.Fatal(err)
		}
	}
	compare("with an alarm")
}

// The metrics that Mimir has under etcd's names have etcd's types and labels, of those that etcd has too.
func TestMetricNames(t *testing.T) {
	answer, err := http.Get("http://" + startEtcd(t, "simple") + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	kinds, labels := map[string]string{}, map[string][]string{}
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(name, " ")
			kinds[name] = kind
			continue
		}
		name, rest, _ := strings.Cut(line, "{")
		for _, pair := range labelName.FindAllStringSubmatch(rest, -1) {
			labels[name] = append(labels[name], pair[1])
		}
	}
	both := 0
	for _, f := range telemetry.Declared() {
		kind, there := kinds[f.Name]
		if !there {
			continue // of a kind that begins with its first event, as what passes between peers
		}
		both++
		has := slices.Compact(slices.Sorted(slices.Values(append(labels[f.Name], labels[f.Name+"_count"]...))))
		if string(f.Kind) != kind || !slices.Equal(has, slices.Sorted(slices.Values(f.Labels))) {
			t.Errorf("%s is a %s by %q with etcd, and here a %s by %q", f.Name, kind, has, f.Kind, f.Labels)
		}
	}
	if both < 20 {
		t.Errorf("only %d metrics are compared", both)
	}
}

var labelName = regexp.MustCompile(`(\w+)="`)
