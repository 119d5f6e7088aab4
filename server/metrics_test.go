package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/server/telemetry"
)

// scraped is a page of metrics: the type of each, and its series.
type scraped struct {
	kinds  map[string]string
	series map[string][]map[string]string // labels, by name; the value is under ""
}

var (
	seriesLine = regexp.MustCompile(`^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
)

func scrape(t *testing.T, c *Config) *scraped {
	t.Helper()
	page, err := getHTTP(c.ClientURL()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &scraped{map[string]string{}, map[string][]map[string]string{}}
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(name, " ")
			s.kinds[name] = kind
		} else if m := seriesLine.FindStringSubmatch(line); m != nil {
			labels := map[string]string{"": m[3]}
			for _, pair := range labelPair.FindAllStringSubmatch(m[2], -1) {
				labels[pair[1]] = pair[2]
			}
			s.series[m[1]] = append(s.series[m[1]], labels)
		}
	}
	return s
}

// selector is one of PromQL, as far as a page of one scrape can be held against it.
var selector = regexp.MustCompile(`\b((?:mimir|etcd|grpc_server|process)_\w+)(?:\{([^}]*)\})?`)

// lacks returns which selectors of an expression find no series.
func (s *scraped) lacks(expression string) (list []string) {
	for _, m := range selector.FindAllStringSubmatch(expression, -1) {
		if !slices.ContainsFunc(s.series[m[1]], func(labels map[string]string) bool { return selects(m[2], labels) }) {
			list = append(list, m[0])
		}
	}
	return list
}

var matcher = regexp.MustCompile(`(\w+)(=~|!=|=)"([^"]*)"`)

// selects reports whether matchers select a series that has their labels.
func selects(matchers string, labels map[string]string) bool {
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		v, there := labels[m[1]]
		ok := v == m[3]
		switch m[2] {
		case "!=":
			ok = !ok
		case "=~":
			ok = regexp.MustCompile("^(?:" + m[3] + ")$").MatchString(v)
		}
		if !there || !ok {
			return false
		}
	}
	return true
}

// etcdRules returns what etcd's alerts and dashboards read, by name.
func etcdRules(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("telemetry", "testdata", "etcd-rules.txt"))
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, expression, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(name, "#") {
			rules[name] = expression
		}
	}
	if len(rules) < 30 {
		t.Fatalf("only %d rules", len(rules))
	}
	return rules
}

// metricFleet is a primary of a voter, which is returned, and a learner, and a secondary.
func metricFleet(t *testing.T) *Config {
	t.Helper()
	us, learner, eu := testConfig(t, "us-1"), testConfig(t, "us-2"), testConfig(t, "eu-1")
	eu.Replication.RegionID, eu.Replication.Regions = "eu", map[string][]string{"us": {us.ListenPeer}}
	for _, c := range []*Config{us, learner} {
		c.Replication.RegionID, c.Replication.Regions = "us", map[string][]string{"eu": {eu.ListenPeer}}
		c.Replication.Nodes = map[string]string{"us-1": us.ListenPeer}
	}
	learner.Replication.Join = true
	for _, c := range []*Config{us, learner, eu} {
		c.Replication.InitialPrimary, c.QuotaBytes = "us", 1<<30
	}
	runNode(t, us)
	runNode(t, eu)
	client := etcdClient(t, us, TLS{})
	eventually(t, "the fleet writes", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := client.Put(ctx, "k", "v")
		return err == nil
	})
	if _, err := client.MemberAddAsLearner(t.Context(), []string{"http://us-2@" + learner.ListenPeer}); err != nil {
		t.Fatal(err)
	}
	runNode(t, learner)
	return us
}

// What etcd's alerts and dashboards read is there, with the labels by which they select; every metric is what it is
// declared to be; and what passes between nodes is counted by who they are.
func TestMetricsOfAFleet(t *testing.T) {
	us := metricFleet(t)
	reads := etcdRules(t)
	for _, own := range []string{
		`mimir_peer_round_trip_seconds_count{region="eu",node="eu-1"}`,
		`mimir_peer_sent_bytes_total{region="us",node="us-2",service="raft"}`,
		`mimir_peer_received_bytes_total{region="us",node="us-2",service="raft"}`,
		`mimir_peer_sent_bytes_total{region="eu",node="eu-1",service="stream"}`,
		`mimir_peer_received_bytes_total{region="eu",node="eu-1",service="call"}`,
		`mimir_build_info{version="test"}`, `mimir_log_sync_seconds_bucket{le="+Inf"}`, `mimir_leader_changes_total`,
		`mimir_proposals_pending`, `mimir_quota_bytes`, `grpc_server_msg_sent_total{grpc_method="Put"}`,
	} {
		reads[own] = own
	}
	var page *scraped
	eventually(t, "everything is there", func(context.Context) bool {
		page = scrape(t, us)
		missing := 0
		for name, expression := range reads {
			if lack := page.lacks(expression); len(lack) > 0 {
				t.Log(name, "lacks", lack)
				missing++
			}
		}
		return missing == 0
	})
	checkDeclared(t, page)
	for _, positive := range []string{
		"etcd_network_client_grpc_received_bytes_total", "etcd_network_client_grpc_sent_bytes_total",
		"etcd_mvcc_db_total_size_in_bytes", "etcd_server_proposals_committed_total", "etcd_server_has_leader",
		"etcd_disk_wal_fsync_duration_seconds_count", "etcd_disk_backend_commit_duration_seconds_count",
		"etcd_server_leader_changes_seen_total",
	} {
		if v, err := strconv.ParseFloat(page.series[positive][0][""], 64); err != nil || v <= 0 {
			t.Errorf("%s is %v, %v", positive, v, err)
		}
	}
	if peers := page.series["etcd_network_peer_sent_bytes_total"]; len(peers) != 1 || len(peers[0]["To"]) < 8 {
		t.Errorf("the peers in a region of two are %v", peers)
	}
}

// checkDeclared holds a page against the declarations.
func checkDeclared(t *testing.T, page *scraped) {
	t.Helper()
	declared := map[string]*telemetry.Figure{}
	for _, f := range telemetry.Declared() {
		if declared[f.Name] != nil {
			t.Errorf("%s is declared twice", f.Name)
		}
		declared[f.Name] = f
	}
	for name, kind := range page.kinds {
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		f := declared[name]
		if f == nil || string(f.Kind) != kind {
			t.Errorf("%s, %s, is declared as %+v", name, kind, f)
			continue
		}
		for _, labels := range append(page.series[name], page.series[name+"_count"]...) {
			for l := range labels {
				if l != "" && !slices.Contains(f.Labels, l) {
					t.Errorf("%s has a label %s, which is not declared", name, l)
				}
			}
			if len(labels)-1 != len(f.Labels) {
				t.Errorf("%s is declared with labels %v and has %v", name, f.Labels, labels)
			}
		}
	}
}

const metricsPage = "../docs/metrics.md"

// TestMetricsAreDocumented holds docs/metrics.md against the declarations: each of its sections has its table.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for title, own := range map[string]bool{"Its own": true, "By etcd's names": false} {
		const head = "| metric | type | labels | what it is |\n|---|---|---|---|\n"
		at := strings.Index(page, "\n## "+title+"\n")
		if at < 0 {
			t.Fatalf("%s has no section %q", metricsPage, title)
		}
		from := strings.Index(page[at:], head)
		if from < 0 {
			t.Fatalf("section %q of %s has no table", title, metricsPage)
		}
		from += at
		to := from
		for strings.HasPrefix(page[to:], "|") {
			to += strings.Index(page[to:], "\n") + 1
		}
		want := head
		for _, f := range telemetry.Declared() {
			if strings.HasPrefix(f.Name, "mimir_") == own {
				want += fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.Name, f.Kind, strings.Join(f.Labels, ", "), f.Help)
			}
		}
		if page[from:to] != want && !*update {
			t.Errorf("section %q of %s is not what is declared (-update writes it)", title, metricsPage)
		}
		page = page[:from] + want + page[to:]
	}
	if *update {
		if err := os.WriteFile(metricsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
