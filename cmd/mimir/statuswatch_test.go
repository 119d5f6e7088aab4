package main

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// pictureAt is a fleet of one region at a position.
func pictureAt(position uint64) *fleetReport {
	r := regionReport{Revision: -1}
	r.Name, r.Role, r.Position = "us", replication.RolePrimary, replication.Position(position)
	return &fleetReport{FleetStatus: &replication.FleetStatus{Fleet: "f", Asked: "us-1"}, Regions: []regionReport{r}}
}

// What is watched says how fast it goes on, and when nobody answers that and how old the picture is.
func TestStatusIsWatched(t *testing.T) {
	begin := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	w := statusWatch{every: 2 * time.Second, print: func(w io.Writer, f *fleetReport) { f.print(w) }}
	look := func(after time.Duration, f *fleetReport, fault error) string {
		text, err := w.frame(begin.Add(after), f, fault)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := look(0, nil, errors.New("nobody is there")); !strings.Contains(text, "NO ANSWER: nobody is there") ||
		strings.Contains(text, "REGION") {
		t.Errorf("before the first answer: %s", text)
	}
	if text := look(2*time.Second, pictureAt(100), nil); !strings.Contains(text, "us ") ||
		strings.Contains(text, "a second") {
		t.Errorf("the first picture: %s", text)
	}
	if text := look(4*time.Second, pictureAt(1100), nil); !strings.Contains(text, "Commands a second: us 500.") {
		t.Errorf("the second picture: %s", text)
	}
	text := look(64*time.Second, nil, errors.New("connection refused"))
	if !strings.Contains(text, "NO ANSWER: connection refused\nWhat follows is of 03:00:04, 1m0s ago.") ||
		!strings.Contains(text, "1100") || strings.Contains(text, "a second") {
		t.Errorf("nobody answers any more: %s", text)
	}
	if text := look(66*time.Second, pictureAt(50), nil); strings.Contains(text, "a second") {
		t.Errorf("a region that went back: %s", text)
	}
	w.json = true
	for _, fault := range []error{nil, errors.New("connection refused")} {
		var line struct {
			At    time.Time
			Fleet *struct{ Regions []struct{ Name string } }
			Error string
		}
		text := look(68*time.Second, pictureAt(51), fault)
		if err := json.Unmarshal([]byte(text), &line); err != nil || strings.Count(text, "\n") != 1 {
			t.Fatalf("%v: %s", err, text)
		}
		if line.At.IsZero() || (line.Fleet == nil) == (fault == nil) || (line.Error == "") != (fault == nil) {
			t.Errorf("a line is %s", text)
		}
	}
}

// A line of the table says what is known of a node, and no more.
func TestRowsOfNodes(t *testing.T) {
	f := pictureAt(7)
	said := &replication.HealthStatus{Healthy: true, Position: 7, LogBytes: 2048}
	late := &replication.HealthStatus{Problem: "it heard no leader for 15 s", Position: 5}
	begins := &replication.HealthStatus{State: replication.StateInitializing, Problem: "it starts"}
	f.Regions[0].Nodes = []replication.NodeStatus{
		{Name: "us-1", Region: "us", Leader: true, Reachable: true, ReachableKnown: true,
			ClientURLs: []string{"http://a"}},
		{Name: "us-2", Region: "us", Reachable: true, ReachableKnown: true, CutOff: true},
		{Name: "us-3", Region: "us", ReachableKnown: true},
		{Name: "us-4", Region: "us", Learner: true},
		{Name: "us-5", Region: "us", ReachableKnown: true, OtherLife: true, ClientURLs: []string{"http://e"}},
		{Name: "us-6", Region: "us", Reachable: true, ReachableKnown: true},
	}
	f.Regions[0].nodes = []nodeReport{
		{name: "us-1", health: said, version: "1.0", revision: 9, storeBytes: 3 << 20}, {name: "us-2", health: late},
		{name: "us-6", health: begins, version: "1.0", storeBytes: 3 << 20},
	}
	var out strings.Builder
	f.printNodes(&out)
	for _, want := range []string{
		"us-1 us leader 1.0 7 9 3.0 MiB 2.0 KiB http://a", "us-2 us voter, cut off: it heard no leader for 15 s - 5 0",
		"us-3 us voter, does not answer - - - - - -", "us-4 us learner, not known whether it answers - - - - - -",
		"us-5 us voter, WRONG: of another life of the region - - - - - http://e",
		"us-6 us voter: it starts 1.0 - 0 3.0 MiB - -",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if got := endpointsOf(&f.Regions[0]); got != " --endpoints a" {
		t.Errorf("to be asked: %q", got)
	}
}
