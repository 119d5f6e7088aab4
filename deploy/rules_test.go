package deploy

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
)

var update = flag.Bool("update", false, "write the table of docs/operating.md anew")

const rulesFile = "prometheus/mimir.rules.yml"

// alerts returns the rules, in their order.
func alerts(t *testing.T) (list []rulefmt.Rule) {
	t.Helper()
	groups, errs := rulefmt.ParseFile(rulesFile, false, model.UTF8Validation, language, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	for _, group := range groups.Groups {
		list = append(list, group.Rules...)
	}
	return list
}

// Every alert fires once what it names has gone on for long enough, not before, and no longer than that.
func TestEveryAlertFiresAndEnds(t *testing.T) {
	known := map[string]bool{}
	for _, rule := range alerts(t) {
		known[rule.Alert] = true
		t.Run(rule.Alert, func(t *testing.T) {
			what, ok := incidents[rule.Alert]
			if !ok {
				t.Fatal("no incident makes it fire")
			}
			h, begin, end := what.history(t, &rule)
			fires, pending := h.fires(t, &rule)
			if fires == nil {
				t.Fatalf("it does not fire; pending at %v, the incident is from %v to %v", pending, begin, end)
			}
			if first := fires[0]; first.Before(begin.Add(time.Duration(rule.For))) {
				t.Errorf("it fires at %v, and the incident begins at %v", first, begin)
			}
			if last := fires[len(fires)-1]; last.After(end.Add(lingers)) {
				t.Errorf("it fires until %v, and the incident ended at %v", last, end)
			}
			for _, s := range h.samples(t, rule.Expr, fires[0]) {
				description(t, &rule, s, fires[0])
			}
		})
	}
	for name := range incidents {
		if !known[name] {
			t.Errorf("there is no alert %s", name)
		}
	}
}

// description returns what an alert says of itself when it fires for a sample. All that it names has to be known.
func description(t *testing.T, rule *rulefmt.Rule, s promql.Sample, at time.Time) string {
	t.Helper()
	text := "{{$labels := .Labels}}{{$value := .Value}}" + rule.Annotations["description"]
	said, err := template.NewTemplateExpander(t.Context(), text, rule.Alert,
		template.AlertTemplateData(s.Metric.Map(), nil, "", s), model.TimeFromUnixNano(at.UnixNano()), nil, nil,
		[]string{"missingkey=error"}).Expand()
	if err != nil {
		t.Errorf("what it says of %s: %v", s.Metric, err)
	}
	return said
}

// Who is not reached is named with the region that he is of, and not with that of the node which says so: the label of
// the metric has another name once it is scraped.
func TestWhoIsNotReachedIsNamedWithHisRegion(t *testing.T) {
	rules := alerts(t)
	rule := &rules[slices.IndexFunc(rules, func(r rulefmt.Rule) bool { return r.Alert == "MimirPeerNotReached" })]
	apart := incident{counts(`mimir_peer_failures_total{region="us",exported_region="eu"}`, 0.1)}
	h, _, _ := apart.history(t, rule)
	fires, _ := h.fires(t, rule)
	if fires == nil {
		t.Fatal("it does not fire")
	}
	for _, s := range h.samples(t, rule.Expr, fires[0]) {
		if text := description(t, rule, s, fires[0]); !strings.Contains(text, " does not reach eu-") ||
			!strings.HasSuffix(text, " of region eu.") {
			t.Errorf("it says %q", text)
		}
	}
}

// lingers is for how long at most an alert looks back, and goes on after what it names has ended.
const lingers = 15 * time.Minute

// fires returns when an alert fires, and when it is at least pending. It fires if one and the same set of labels was
// there at every step for as long as the rule wants.
func (h *history) fires(t *testing.T, rule *rulefmt.Rule) (firing, pending []time.Time) {
	t.Helper()
	from, to := h.span()
	since := map[string]time.Time{}
	for at := from; !at.After(to); at = at.Add(every) {
		now, fires := h.value(t, rule.Expr, at), false
		for set := range since {
			if _, still := now[set]; !still {
				delete(since, set)
			}
		}
		for set := range now {
			if _, before := since[set]; !before {
				since[set] = at
			}
			fires = fires || at.Sub(since[set]) >= time.Duration(rule.For)
		}
		if fires {
			firing = append(firing, at)
		}
		if len(now) > 0 {
			pending = append(pending, at)
		}
	}
	return firing, pending
}

// Rules read what the docs explain, say whom they wake, and lead to a page that is there.
func TestRulesLeadSomewhere(t *testing.T) {
	docs := documented(t)
	for _, rule := range alerts(t) {
		for _, name := range names(t, rule.Expr) {
			if isOwn(name) && !docs[name] {
				t.Errorf("%s reads %s, which docs/metrics.md does not explain", rule.Alert, name)
			}
		}
		if s := rule.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has severity %q", rule.Alert, s)
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s does not say what is wrong", rule.Alert)
		}
		page, anchor, _ := strings.Cut(rule.Annotations["runbook"], "#")
		text, err := os.ReadFile("../" + page)
		if err != nil {
			t.Errorf("%s: %v", rule.Alert, err)
		} else if anchor != "" && !hasHeading(string(text), anchor) {
			t.Errorf("%s: %s has no heading %s", rule.Alert, page, anchor)
		}
	}
}

// Each alert leads to a section of its own, which has all of its parts, and each section is of an alert.
func TestEveryAlertHasARunbook(t *testing.T) {
	text, err := os.ReadFile("../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range strings.Split("\n"+string(text), "\n## ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		sections[name] = body
	}
	for _, rule := range alerts(t) {
		if want := "docs/runbooks.md#" + strings.ToLower(rule.Alert); rule.Annotations["runbook"] != want {
			t.Errorf("%s leads to %q, want %s", rule.Alert, rule.Annotations["runbook"], want)
		}
		for _, part := range []string{"\n**See**\n\n```sh\n", "\n**Do.** ", "\n**Beware.** ", "\nMore: "} {
			if !strings.Contains(sections[rule.Alert], part) {
				t.Errorf("the runbook of %s has no %q", rule.Alert, part)
			}
		}
		delete(sections, rule.Alert)
	}
	for name := range sections {
		t.Errorf("docs/runbooks.md has a section %s, of which there is no alert", name)
	}
}

var noWord = regexp.MustCompile(`[^\w\- ]`)

func hasHeading(page, anchor string) bool {
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		title := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
		if strings.ReplaceAll(noWord.ReplaceAllString(title, ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}

const operating = "../docs/operating.md"

// docs/operating.md has the rules as they are; -update writes them there.
func TestTheDocsShowTheRules(t *testing.T) {
	var table strings.Builder
	table.WriteString("| alert | what is wrong | expression | for |\n|---|---|---|---|\n")
	for _, rule := range alerts(t) {
		fmt.Fprintf(&table, "| `%s` | %s | `%s` | %s |\n", rule.Alert, rule.Annotations["summary"],
			strings.ReplaceAll(rule.Expr, "|", `\|`), rule.For)
	}
	text, err := os.ReadFile(operating)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), "| alert | what is wrong |")
	_, tail, ends := strings.Cut(rest, "\n\n")
	if !ok || !ends {
		t.Fatal("it has no table of alerts")
	}
	want := head + table.String() + "\n" + tail
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatal("its table is not what the rules say: run go test -update here")
	}
	if err := os.WriteFile(operating, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
