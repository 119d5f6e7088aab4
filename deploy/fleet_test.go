package deploy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// patience is for what a fleet does within a second when the machine has nothing else to do.
const patience = 2 * time.Minute

// scrape is what all nodes of a fleet said at one time, by node.
type scrape map[target]string

// target is what a scrape adds to every line of a node's page.
type target struct{ instance, region string }

func (t target) labels() map[string]string {
	return map[string]string{"job": "mimir", "instance": t.instance, "region": t.region}
}

// wellFleet is three scrapes of a fleet that is well, of two regions with three nodes each, with writes and reads
// before each scrape. One fleet serves all tests.
var wellFleet = sync.OnceValues(func() ([]scrape, error) {
	dir, err := os.MkdirTemp("", "mimir-deploy-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "mimir")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./cmd/mimir")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build mimir: %w: %s", err, out)
	}
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{binary, "serve"}, Regions: []string{"us", "eu"}, Nodes: 3,
	})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := localfleet.Start(f.Nodes()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return scrapesOf(ctx, f)
})

// scrapesOf scrapes a fleet three times once it is well.
func scrapesOf(ctx context.Context, f *localfleet.Fleet) (all []scrape, err error) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for len(all) < 3 {
		s, fault := scrapeWell(ctx, f)
		if fault == nil {
			all = append(all, s)
			continue
		}
		if ctx.Err() == nil {
			err = fault
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the fleet is not well after %v: %w", patience, err)
		}
	}
	return all, nil
}

// The words that a page of every node has once the fleet is well and a node has probed each other one.
var well = []string{"mimir_healthy 1", "mimir_peer_round_trip_seconds_count", "mimir_role", "mimir_keys"}

// The words that the page of one node of each region has, its leader's: the primary's leader serves the stream, and
// knows how far behind the other region is; the other one knows it of itself.
var wellLeads = map[string][]string{
	"us": {"mimir_leader 1\n", `mimir_role{role="primary"} 1`, "mimir_slot_lag_seconds{", "mimir_slot_lag_bytes{"},
	"eu": {"mimir_leader 1\n", `mimir_role{role="secondary"} 1`, "mimir_lag_known 1\n"},
}

// leads reports whether a page is that of a leader of a region that is well.
func leads(region, page string) bool {
	return !slices.ContainsFunc(wellLeads[region], func(word string) bool { return !strings.Contains(page, word) })
}

// scrapeWell writes and reads a little in each region, and then scrapes every node.
func scrapeWell(ctx context.Context, f *localfleet.Fleet) (scrape, error) {
	s := scrape{}
	for _, region := range f.Regions {
		leaders := 0
		for _, n := range region.Nodes {
			if !n.Running() {
				return nil, fmt.Errorf("%s ended: %s: %s", n.Config.Name, n.Exit(), n.LastWords())
			}
			for _, call := range []struct{ path, body string }{
				{"/v3/kv/put", `{"key": "a2V5", "value": "dmFsdWU="}`}, {"/v3/kv/range", `{"key": "a2V5"}`},
				{"/v3/lease/grant", `{"TTL": 60}`},
			} {
				if _, err := ask(ctx, n.Config.ListenClient, http.MethodPost, call.path, call.body); err != nil {
					return nil, err
				}
			}
			page, err := ask(ctx, n.Config.ListenClient, http.MethodGet, "/metrics", "")
			if err != nil {
				return nil, err
			}
			for _, word := range well {
				if !strings.Contains(page, word) {
					return nil, fmt.Errorf("%s does not say %s", n.Config.Name, word)
				}
			}
			if leads(region.Name, page) {
				leaders++
			}
			s[target{n.Config.ListenClient, region.Name}] = page
		}
		if leaders != 1 {
			return nil, fmt.Errorf("%d nodes of %s say what its leader says: %q",
				leaders, region.Name, wellLeads[region.Name])
		}
	}
	return s, nil
}

func ask(ctx context.Context, address, method, path, body string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: %s: %s", address, path, answer.Status, text)
	}
	return string(text), err
}

// wellParsed is what the pages of wellFleet say.
var wellParsed = sync.OnceValues(func() (parsed [][]sample, err error) {
	scrapes, err := wellFleet()
	for _, s := range scrapes {
		var all []sample
		for node, page := range s {
			more, err := parsePage(page, node.labels())
			if err != nil {
				return nil, fmt.Errorf("the page of metrics of %s: %w", node.instance, err)
			}
			all = append(all, more...)
		}
		parsed = append(parsed, all)
	}
	return parsed, err
})

// wellFor is the history of some metrics of the fleet, for a time up to now: what it said is spread over it.
func wellFor(t *testing.T, length time.Duration, metrics []string) (h *history, from, to time.Time) {
	t.Helper()
	parsed, err := wellParsed()
	if err != nil {
		t.Fatal(err)
	}
	h, to = newHistory(), time.Now().Truncate(every)
	from = to.Add(-length)
	for at := from; !at.After(to); at = at.Add(every) {
		i := min(int(at.Sub(from)*time.Duration(len(parsed))/length), len(parsed)-1)
		for _, s := range parsed[i] {
			if slices.Contains(metrics, s.labels.Get("__name__")) {
				h.add(s.labels, at, s.value)
			}
		}
	}
	return h, from, to
}
