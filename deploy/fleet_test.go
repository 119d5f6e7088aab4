package deploy

import (
	"context"
	"errors"
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

// target is what a scrape adds to every line of a page.
type target struct{ job, instance, region string }

func (t target) labels() map[string]string {
	l := map[string]string{"job": t.job, "instance": t.instance}
	if t.region != "" {
		l["region"] = t.region
	}
	return l
}

// wellFleet is three scrapes of a fleet that is well, of two regions with three nodes each, a witness and a partial
// region, with writes and reads before each scrape. One fleet serves all tests.
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
	f, err := layOut(dir, binary)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	beside := []*localfleet.Node{f.Witness, f.edge}
	defer localfleet.Kill(beside)
	if err := localfleet.Start(append(f.Nodes(), beside...)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return scrapesOf(ctx, f)
})

// votingFleet is a fleet whose regions vote, with a witness, and that a node of a partial region follows.
type votingFleet struct {
	*localfleet.Fleet
	edge                  *localfleet.Node
	witnessHTTP, edgeHTTP string // where these two are scraped
}

// layOut lays a fleet out in a directory; nothing runs yet. The caller closes it.
func layOut(dir, binary string) (*votingFleet, error) {
	ports := localfleet.AnyPorts()
	defer ports.Close()
	at, err := ports.Next(2)
	if err != nil {
		return nil, err
	}
	f := &votingFleet{witnessHTTP: at[0], edgeHTTP: at[1]}
	f.Fleet, err = localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{binary, "serve"}, Regions: []string{"us", "eu"}, Nodes: 3,
		Witness: []string{binary, "witness", "--listen-http", f.witnessHTTP},
		Lease:   "10s", // a machine that has much to do fences nobody
	})
	if err != nil {
		return nil, err
	}
	if err := f.addEdge(dir, binary); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// addEdge has nodes know a partial region, and lays out the node that it has.
func (f *votingFleet) addEdge(dir, binary string) error {
	const secret = "0123456789abcdef0123456789abcdef"
	known, own, edge := filepath.Join(dir, "partial"), filepath.Join(dir, "secret"), filepath.Join(dir, "edge-1")
	err := errors.Join(os.WriteFile(known, []byte("edge "+secret+" /edge/\n"), 0o600),
		os.WriteFile(own, []byte(secret+"\n"), 0o600), os.Mkdir(edge, 0o700))
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			n.Config.PartialRegionsFile = known
		}
		err = errors.Join(err, r.Save())
	}
	f.edge = &localfleet.Node{
		Dir: edge, Config: localfleet.Config{Name: "edge-1"},
		Arguments: []string{binary, "partial", "serve", "--region", "edge", "--name", "edge-1", "--prefix", "/edge/",
			"--from", strings.Join(localfleet.Clients(f.Region("us").Nodes), ","), "--secret-file", own,
			"--listen", f.edgeHTTP, "--data-dir", filepath.Join(edge, "data")},
	}
	return err
}

// scrapesOf scrapes a fleet three times once it is well.
func scrapesOf(ctx context.Context, f *votingFleet) (all []scrape, err error) {
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

// The words that the page of one node of each region has, its leader's: the primary's leader serves the stream, knows
// how far behind the other region is, and who supports it; the other one knows its lag of itself.
var wellLeads = map[string][]string{
	"us": {"mimir_leader 1\n", `mimir_role{role="primary"} 1`, "mimir_slot_lag_seconds{", "mimir_slot_lag_bytes{",
		"mimir_fenced 0\n", `mimir_vote_support{voter="eu"} 1`, `mimir_vote_support{voter="us"} 1`,
		`mimir_vote_support{voter="witness/w1"} 1`},
	"eu": {"mimir_leader 1\n", `mimir_role{role="secondary"} 1`, "mimir_lag_known 1\n"},
}

// The words of the page of a witness and of a node of a partial region, and of the page of one node that this follows.
var (
	wellWitness  = []string{`mimir_witness_serving{fleet="mimir",name="w1"} 1`}
	wellEdge     = []string{`mimir_partial_shows{node="edge-1",partial="edge"} 1`, "mimir_partial_lag_seconds{"}
	wellFollowed = []string{`mimir_partial_followers{partial="edge"} 1`, "mimir_partial_follower_lag_seconds{"}
)

// lacks returns the first of some words that a page does not have, "" if it has all.
func lacks(page string, words []string) string {
	for _, word := range words {
		if !strings.Contains(page, word) {
			return word
		}
	}
	return ""
}

// pageWith scrapes a page, which has to have these words.
func pageWith(ctx context.Context, address string, words []string) (string, error) {
	page, err := ask(ctx, address, http.MethodGet, "/metrics", "")
	if word := lacks(page, words); err == nil && word != "" {
		err = fmt.Errorf("%s does not say %s", address, word)
	}
	return page, err
}

// scrapeBeside scrapes the witness, and the node of the partial region.
func scrapeBeside(ctx context.Context, f *votingFleet, s scrape) (err error) {
	for at, words := range map[target][]string{
		{job: "mimir-witness", instance: f.witnessHTTP}: wellWitness,
		{job: "mimir-partial", instance: f.edgeHTTP}:    wellEdge,
	} {
		if s[at], err = pageWith(ctx, at.instance, words); err != nil {
			return fmt.Errorf("%s: %w", at.job, err)
		}
	}
	return nil
}

// scrapeWell writes and reads a little in each region, and then scrapes every node, and who is beside them.
func scrapeWell(ctx context.Context, f *votingFleet) (scrape, error) {
	s, followed := scrape{}, 0
	if err := scrapeBeside(ctx, f, s); err != nil {
		return nil, err
	}
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
			page, err := pageWith(ctx, n.Config.ListenClient, well)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", n.Config.Name, err)
			}
			if lacks(page, wellLeads[region.Name]) == "" {
				leaders++
			}
			if lacks(page, wellFollowed) == "" {
				followed++
			}
			s[target{"mimir", n.Config.ListenClient, region.Name}] = page
		}
		if leaders != 1 {
			return nil, fmt.Errorf("%d nodes of %s say what its leader says: %q",
				leaders, region.Name, wellLeads[region.Name])
		}
	}
	if followed != 1 {
		return nil, fmt.Errorf("%d nodes say %q", followed, wellFollowed)
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
