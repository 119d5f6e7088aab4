//go:build unix

package main

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/authority"
)

// Of a node that does not tell of itself it is said that nothing is known, and why: nothing that others say stands for
// it. It is no fault by itself: who looks may have no way to it.
func TestWhoTellsNothingOfItselfIsNamed(t *testing.T) {
	at, _ := oneOfTwo(t)
	_, out, errs := mimir(t, "status", "--endpoints", at)
	want := "NOTE: us: not told of itself, so that version, sizes, certificates and settings are not known: us-2 ("
	if !strings.Contains(out, want+errSilent.Error()+")") {
		t.Errorf("no %q in\n%s%s", want, out, errs)
	}
	_, out, _ = mimir(t, "status", "--endpoints", at, "-o", "json")
	if !strings.Contains(out, `"silent": [`) || !strings.Contains(out, `"node": "us-2"`) {
		t.Error(out)
	}
}

// What another node says in the place of one is not taken for what that one says.
func TestWhoAnswersForAnotherIsNotTheOther(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text, err := admin.Marshal(&admin.Node{Version: "v1", HealthStatus: &replication.HealthStatus{NodeID: "us-1"}})
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	}))
	defer s.Close()
	client, err := admin.NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nodes := []replication.NodeStatus{
		{Name: "us-1", Region: "us", Reachable: true, ClientURLs: []string{s.URL}},
		{Name: "us-2", Region: "us", Reachable: true, ClientURLs: []string{s.URL}},
		{Name: "us-3", Region: "us", Reachable: true}, {Name: "us-4", Region: "us"},
	}
	told, silent := askNodes(t.Context(), client, nodes, func() {})
	if len(told) != 1 || told[0].name != "us-1" || len(silent) != 2 ||
		silent[0].Why != "us-1 answers where it says that it serves clients" || silent[1].Node != "us-3" {
		t.Errorf("%+v, %+v", told, silent)
	}
}

// A certificate that has ended is wrong, although the node that shows it can tell nobody: whoever checks it is refused.
func TestACertificateThatHasEndedIsTold(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if err := authority.Make(dir, authority.Clients, "f", now.Add(-100*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := authority.Make(dir, authority.Peers, "f", now.Add(-100*time.Hour)); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{}
	for name, began := range map[string]time.Time{"us-1": now, "us-2": now.Add(-50 * time.Hour)} {
		_, err := authority.Members(dir, []authority.Member{{Fleet: "f", Region: "us", Name: name,
			Peer: []string{"127.0.0.1"}, Client: []string{"127.0.0.1"}}}, authority.Terms{Lasts: 24 * time.Hour}, began)
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, name, "server")
		pair, err := tls.LoadX509KeyPair(at+".crt", at+".key")
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			us := replication.RegionStatus{Name: "us", Heard: true, By: "us-1", Role: replication.RolePrimary}
			for _, n := range []string{"us-1", "us-2"} {
				us.Nodes = append(us.Nodes, replication.NodeStatus{Name: n, Region: "us", Reachable: true,
					ReachableKnown: true, ClientURLs: []string{urls[n]}})
			}
			var v any = &replication.FleetStatus{Fleet: "f", Asked: "us-1", Primary: "us",
				Regions: []replication.RegionStatus{us}}
			if r.URL.Path == "/mimir/v1/node" {
				v = &admin.Node{HealthStatus: &replication.HealthStatus{NodeID: name, Healthy: true}, Revision: 7}
			}
			text, err := admin.Marshal(v)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(text)
		}))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.StartTLS()
		defer s.Close()
		urls[name] = s.URL
	}
	ca := filepath.Join(dir, authority.Clients+".crt")
	status, out, errs := mimir(t, "status", "--check", "--endpoints", urls["us-1"], "--cacert", ca)
	want := "WARNING: who checks certificates is not served by us-2 (us): " + urls["us-2"] +
		": its certificate ended on "
	if status != exitFailed || !strings.Contains(out, want) || !strings.Contains(errs, "its certificate ended on") {
		t.Errorf("%d, no %q in\n%s%s", status, want, out, errs)
	}
	_, _, errs = mimir(t, "status", "--endpoints", urls["us-2"], "--cacert", ca)
	if !strings.Contains(errs, "its certificate ended on ") ||
		strings.Contains(errs, "see --cacert") {
		t.Errorf("where it is asked itself: %s", errs)
	}
}

// What a node says is wrong with it is wrong, also where its region has no word for it.
func TestANodeThatIsNotWellIsNotWell(t *testing.T) {
	f := pictureAt(7)
	f.Primary = "us"
	ill := &replication.HealthStatus{Problem: "waits for others of its region"}
	f.Regions[0].nodes = []nodeReport{{name: "us-1", health: &replication.HealthStatus{Healthy: true}},
		{name: "us-2", health: ill}}
	const want = "us-2 is not healthy: waits for others of its region"
	if err := f.verdict(true, false); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("--check: %v", err)
	}
	var out strings.Builder
	if f.print(&out); !strings.Contains(out.String(), "us: "+want) {
		t.Error(out.String())
	}
	if p := f.picture(time.Now()); p.Wrong == "" || !strings.Contains(p.Regions[0].Problem, want) {
		t.Errorf("the page: %q, %q", p.Wrong, p.Regions[0].Problem)
	}
	f.Regions[0].Problem = "the disk of us-2 is full"
	if text := f.Regions[0].problems(); text != "the disk of us-2 is full" {
		t.Errorf("said twice: %q", text)
	}
}

// Alarms are told by whoever knows them, where the node that speaks for a region does not tell.
func TestAlarmsAreToldByOthers(t *testing.T) {
	full := admin.Alarm{Kind: "NOSPACE", Member: 5}
	f := pictureAt(7)
	f.Regions[0].nodes = []nodeReport{{name: "us-2", alarms: []admin.Alarm{full}},
		{name: "us-3", alarms: []admin.Alarm{full}}}
	if f.tellAlarms(); len(f.Alarms) != 1 || len(f.Warnings) != 1 {
		t.Errorf("%+v, %q", f.Alarms, f.Warnings)
	}
	f = pictureAt(7)
	f.Regions[0].Revision, f.Regions[0].nodes = 9, []nodeReport{{name: "us-2", alarms: []admin.Alarm{full}}}
	if f.tellAlarms(); len(f.Alarms) != 0 {
		t.Errorf("the word of another counts more: %+v", f.Alarms)
	}
}

// A command that helps asks as the one did that names it: whom, with what, as whom. No password stands in it.
func TestTheCommandThatHelpsAsksAlike(t *testing.T) {
	n := &connection{}
	c := newStatus(n)
	if err := c.ParseFlags(strings.Fields("--endpoints us-1:2379,eu-1:2379 --cacert ca's.crt --cert op.crt " +
		"--key op.key --user root:SECRET --token-file /etc/token --insecure-skip-tls-verify")); err != nil {
		t.Fatal(err)
	}
	f := &fleetReport{Next: []string{"mimir fleet show   # why", "mimir status --endpoints x:1   # eu hears us"}}
	f.askedLike(n.given(c))
	const rest = ` --cacert 'ca'\''s.crt' --cert op.crt --key op.key --token-file /etc/token --user root ` +
		`--insecure-skip-tls-verify   # `
	if want := []string{"mimir fleet show --endpoints us-1:2379,eu-1:2379" + rest + "why",
		"mimir status --endpoints x:1" + rest + "eu hears us"}; !slices.Equal(f.Next, want) {
		t.Errorf("%q, want %q", f.Next, want)
	}
	n = &connection{}
	f = &fleetReport{Next: []string{"mimir fleet show   # why"}}
	if f.askedLike(n.given(newStatus(n))); f.Next[0] != "mimir fleet show   # why" {
		t.Errorf("with what the environment says: %q", f.Next)
	}
}

// Where nobody tells whether there are alarms, and what is open, neither is said to be well: it is not known.
func TestWhatNobodyToldIsNotWell(t *testing.T) {
	f := &fleetReport{FleetStatus: &replication.FleetStatus{Primary: "us"}, Regions: []regionReport{{
		RegionStatus: replication.RegionStatus{Name: "us", Role: replication.RolePrimary, TakesWrites: true},
		Revision:     -1, silent: []silentNode{{Node: "us-1", Region: "us", Why: "it says nothing"}},
	}}}
	f.tellSilent()
	if f.verdict(true, false) != nil {
		t.Errorf("who looks may have no way to it: %v", f.verdict(true, false))
	}
	err := f.verdict(true, true)
	want := "what is open to others at us-1 (us) is not known: it says nothing"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("closed: %v, want %q", err, want)
	}
	f.tellAlarms()
	if err := f.verdict(true, false); err == nil || !strings.Contains(err.Error(), "alarms is not known") {
		t.Errorf("alarms: %v", err)
	}
	f.Warnings, f.Regions[0].nodes = nil, []nodeReport{{name: "us-2"}}
	if f.tellAlarms(); len(f.Warnings) > 0 {
		t.Errorf("one told: %q", f.Warnings)
	}
}

// A list of regions, and a comparison, of which the asked node does not tell the partial regions say so.
func TestPartialRegionsThatNobodyToldAreUnknown(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mimir/v1/fleet" {
			_, _ = w.Write([]byte(`{"fleet": "f", "regions": [{"name": "us"}]}`))
			return
		}
		http.Error(w, `{"error": "not now"}`, http.StatusServiceUnavailable)
	}))
	defer s.Close()
	const want = "which partial regions there are is not known: not now"
	if _, out, errs := mimir(t, "region", "list", "--endpoints", s.URL); !strings.Contains(out, "NOTE: "+want) {
		t.Errorf("%s%s", out, errs)
	}
	client, err := admin.NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var out strings.Builder
	if tellUncompared(t.Context(), client, &out); !strings.Contains(out.String(), want) {
		t.Error(out.String())
	}
}
