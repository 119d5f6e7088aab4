package deploy

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/mimir-kv/mimir/localfleet"
)

var requirePrometheus = flag.Bool("require-prometheus", false,
	"fail without prometheus and promtool; default: their tests are skipped")

// speed is by how much time passes faster for the rules that a real Prometheus is given: all durations in them are so
// much shorter, and what is counted goes up so much faster. Some wait for an hour; here for longest at most.
const (
	speed   = 60
	longest = 10 * time.Second
)

// tool returns where a tool of Prometheus is, which Debian has.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case *requirePrometheus:
		t.Fatal(err)
	}
	t.Skipf("%s is not here: apt-get install prometheus", name)
	return ""
}

// A real Prometheus takes what is shipped, as it is.
func TestPrometheusTakesWhatIsShipped(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), "check", "config",
		"prometheus/prometheus.yml").CombinedOutput()
	if err != nil || !strings.Contains(string(out), fmt.Sprintf("SUCCESS: %d rules found", len(alerts(t)))) {
		t.Errorf("%v\n%s", err, out)
	}
}

// In a real Prometheus, which scrapes what nodes say, every alert fires while its incident goes on, and ends after it.
func TestEveryAlertFiresInARealPrometheus(t *testing.T) {
	program := tool(t, "prometheus")
	s := newStage(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	p := startPrometheus(t, program, s, server.Listener.Addr().String())
	p.until(t, "no alert is there", func(there map[string]string) bool { return len(there) == 0 })
	for _, names := range waves(t) {
		s.begin(t, names)
		p.until(t, fmt.Sprintf("%v fire", names), func(there map[string]string) bool {
			return !slices.ContainsFunc(names, func(name string) bool { return there[name] != "firing" })
		})
		s.end()
		p.until(t, fmt.Sprintf("%v have ended", names), func(there map[string]string) bool { return len(there) == 0 })
	}
}

// prometheus is one that runs.
type prometheus struct {
	url string
	log *bytes.Buffer
}

// startPrometheus starts one that scrapes all nodes of a stage at an address, by the rules that are shipped.
func startPrometheus(t *testing.T, program string, s *stage, at string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	config.WriteString("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms}\n" +
		"rule_files: [mimir.rules.yml]\nscrape_configs:\n")
	for i, n := range s.nodes {
		fmt.Fprintf(&config, "  - job_name: page-%d\n    metrics_path: /%d\n    static_configs:\n"+
			"      - targets: [%q]\n        labels: {job: %s, instance: %q, region: %q}\n",
			i, i, at, n.job, n.instance, n.region)
	}
	for name, text := range map[string]string{
		"mimir.rules.yml": faster(t, string(rules)), "prometheus.yml": config.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ports := localfleet.AnyPorts()
	t.Cleanup(func() { ports.Close() })
	list, err := ports.Next(1)
	if err != nil {
		t.Fatal(err)
	}
	p := &prometheus{"http://" + list[0], &bytes.Buffer{}}
	c := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+list[0], "--log.level=warn")
	c.Stdout, c.Stderr = p.log, p.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
		if t.Failed() {
			t.Log(p.log)
		}
	})
	p.wait(t, "it is ready", func() string {
		_, err := ask(t.Context(), list[0], http.MethodGet, "/-/ready", "")
		return text(err)
	})
	return p
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

var aDuration = regexp.MustCompile(`(?m)(^\s*for: |\[)(\w+)`)

// faster returns rules whose durations are shorter by speed.
func faster(t *testing.T, rules string) string {
	t.Helper()
	changed := 0
	rules = aDuration.ReplaceAllStringFunc(rules, func(all string) string {
		part := aDuration.FindStringSubmatch(all)
		d, err := model.ParseDuration(part[2])
		if err != nil { // no duration: a list of something else
			return all
		}
		changed++
		shorter := time.Duration(d) / speed
		if part[1] != "[" {
			shorter = min(shorter, longest)
		}
		return part[1] + model.Duration(shorter).String()
	})
	if changed < len(incidents) {
		t.Fatalf("%d durations in the rules", changed)
	}
	return rules
}

// until waits until what alerts there are, by name, is as wanted. Of one that is there several times the state counts
// that is nearest to firing.
func (p *prometheus) until(t *testing.T, what string, wanted func(there map[string]string) bool) {
	t.Helper()
	p.wait(t, what, func() string {
		body, err := ask(t.Context(), strings.TrimPrefix(p.url, "http://"), http.MethodGet, "/api/v1/alerts", "")
		if err != nil {
			return err.Error()
		}
		var answer struct {
			Data struct {
				Alerts []struct {
					Labels map[string]string
					State  string
				}
			}
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			return err.Error()
		}
		there := map[string]string{}
		for _, a := range answer.Data.Alerts {
			if name := a.Labels["alertname"]; there[name] != "firing" {
				there[name] = a.State
			}
		}
		if wanted(there) {
			return ""
		}
		return fmt.Sprintf("there are %v", there)
	})
}

// wait waits until nothing is missing any more.
func (p *prometheus) wait(t *testing.T, what string, missing func() string) {
	t.Helper()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(longest + patience); ; <-again.C {
		last := missing()
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not so in time: %s; %s", what, last)
		}
	}
}
