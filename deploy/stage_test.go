package deploy

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// stage serves what the nodes of a fleet say to whoever scrapes them, at /0, /1 and so on: that of a fleet that is
// well, changed by the incidents that go on.
type stage struct {
	nodes   []target
	leaders map[string]string

	mu      sync.Mutex
	said    map[string]sample // by their labels
	changes []staged
	since   time.Time
}

// staged is a change, and the series that it is about.
type staged struct {
	change
	series []sample // as they were before
}

func newStage(t *testing.T) *stage {
	t.Helper()
	scrapes, err := wellFleet()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := wellParsed()
	if err != nil {
		t.Fatal(err)
	}
	leading, _, _ := wellFor(t, time.Minute, []string{"mimir_leader"})
	s := &stage{leaders: leading.leaders(t), said: map[string]sample{}}
	s.nodes = slices.SortedFunc(maps.Keys(scrapes[0]), func(a, b target) int {
		return cmp.Or(strings.Compare(a.job, b.job), strings.Compare(a.instance, b.instance))
	})
	read := map[string]bool{"up": true}
	for _, rule := range alerts(t) {
		for _, name := range names(t, rule.Expr) {
			read[name] = true
		}
	}
	for _, say := range parsed[0] { // no more than the rules read: it is scraped often
		if read[say.labels.Get("__name__")] {
			s.said[say.labels.String()] = say
		}
	}
	for name := range incidents { // what a fleet that is well does not say is said from the start
		for _, c := range incidents[name] {
			if c.usual != nil && !c.born {
				l := s.fresh(t, &c)
				s.said[l.String()] = sample{l, *c.usual}
			}
		}
	}
	return s
}

// fresh returns the labels of a series that is said besides those of a fleet that is well.
func (s *stage) fresh(t *testing.T, c *change) labels.Labels {
	t.Helper()
	l, err := language.ParseMetric(c.selector)
	if err != nil {
		t.Fatal(err)
	}
	b := labels.NewBuilder(l)
	if leader := s.leaders[l.Get("instance")]; leader != "" {
		return b.Set("instance", leader).Set("job", "mimir").Labels()
	}
	return b.Set("instance", s.nodes[0].instance).Labels()
}

// begin has the incidents of some alerts go on.
func (s *stage) begin(t *testing.T, names []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
	for _, name := range names {
		for _, c := range incidents[name] {
			st := staged{change: c}
			if c.usual != nil {
				l := s.fresh(t, &c)
				st.series = []sample{{l, *c.usual}}
				if !c.born {
					s.said[l.String()] = st.series[0]
				}
			} else {
				matchers, err := language.ParseMetricSelector(c.selector)
				if err != nil {
					t.Fatal(err)
				}
				for _, say := range s.said {
					if selects(matchers, say.labels) {
						st.series = append(st.series, say)
					}
				}
			}
			if len(st.series) == 0 {
				t.Fatalf("%s: nobody says %s", name, c.selector)
			}
			s.changes = append(s.changes, st)
		}
	}
}

// end has all be well again; what was counted remains.
func (s *stage) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, c := range s.changes {
		for _, say := range c.series {
			if key := say.labels.String(); c.stays {
				s.said[key] = now[key]
			}
		}
	}
	s.changes = nil
}

// now returns what is said at this moment, by labels.
func (s *stage) now() map[string]sample {
	said := maps.Clone(s.said)
	for _, c := range s.changes {
		for _, say := range c.series {
			key := say.labels.String()
			if c.value == nil {
				delete(said, key)
				continue
			}
			say.value = c.value(say.value, time.Since(s.since)*speed)
			said[key] = say
		}
	}
	return said
}

// ServeHTTP answers a scrape of one node; one that is down does not.
func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil || number >= len(s.nodes) {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	said := s.now()
	s.mu.Unlock()
	node := s.nodes[number]
	var page strings.Builder
	for _, say := range said {
		switch name := say.labels.Get("__name__"); {
		case say.labels.Get("instance") != node.instance:
		case name != "up":
			fmt.Fprintf(&page, "%s %s\n", asSaid(say.labels, node), strconv.FormatFloat(say.value, 'g', -1, 64))
		case say.value == 0:
			http.Error(w, "it is down", http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	io.WriteString(w, page.String())
}

// asSaid is a series as its node has it, without what a scrape adds.
func asSaid(l labels.Labels, node target) string {
	var pairs []string
	added := node.labels()
	l.Range(func(pair labels.Label) {
		name, own := strings.CutPrefix(pair.Name, "exported_")
		if _, adds := added[pair.Name]; pair.Name != "__name__" && !adds || own {
			pairs = append(pairs, fmt.Sprintf("%s=%q", name, pair.Value))
		}
	})
	return l.Get("__name__") + "{" + strings.Join(pairs, ",") + "}"
}

// waves are the alerts in groups whose incidents can go on side by side: no two are about the same metric, and one that
// takes whole nodes away is alone.
func waves(t *testing.T) (list [][]string) {
	t.Helper()
	var about []map[string]bool
	for _, rule := range alerts(t) {
		mine := map[string]bool{}
		for _, c := range incidents[rule.Alert] {
			metric, _, _ := strings.Cut(c.selector, "{")
			mine[metric] = true
		}
		i := slices.IndexFunc(about, func(others map[string]bool) bool {
			for metric := range mine {
				if others[metric] || isOfNodes(metric) {
					return false
				}
			}
			return !others[""] && !others["up"]
		})
		if i < 0 {
			i = len(list)
			list, about = append(list, nil), append(about, map[string]bool{})
		}
		list[i] = append(list[i], rule.Alert)
		maps.Copy(about[i], mine)
	}
	return list
}

func isOfNodes(metric string) bool { return metric == "" || metric == "up" }
