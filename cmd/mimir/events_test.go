//go:build unix

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
)

// checkEvents looks for the story of TestFleetByHand in what its nodes kept, through kills: in this order, each once.
func checkEvents(t *testing.T, endpoints string) {
	t.Helper()
	code, out, errs := mimir(t, "events", "--endpoints", endpoints)
	if code != exitDone {
		t.Fatalf("%d %s", code, errs)
	}
	rest := out
	for _, want := range []string{
		"epoch 1: us is primary, the first one",
		"us takes no writes, to hand over to eu",
		"epoch 2: eu is primary, by switchover 1 from us; nothing was lost",
		"us gave way to epoch 2 of eu",
		"ordered: failover to us, by anybody",
		"epoch 3: us is primary, by a failover from eu behind position 1",
		"eu has 4 commands behind position 1 that epoch 3 of us has not",
		"4 commands in its rescue files",
	} {
		_, behind, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing, or at another place, in\n%s", want, out)
		}
		if rest = behind; strings.Contains(rest, want) && !strings.HasPrefix(want, "ordered") {
			t.Errorf("%q is told twice in\n%s", want, out)
		}
	}
	for _, want := range []string{
		"ordered: switchover from us to eu, by anybody", "; writes paused for ",
		"ordered: failover from eu to us, by force",
		"ordered: switchover to mars", "it came to nothing", "started, version", "leads us, in term", "(eu-1, us-1)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	code, out, errs = mimir(t, "events", "--json", "--region", "eu", "--endpoints", endpoints)
	var report eventReport
	if err := json.Unmarshal([]byte(out), &report); code != exitDone || err != nil {
		t.Fatalf("%d %s%v", code, errs, err)
	}
	if len(report.Nodes) != 2 || len(report.Silent) != 0 || len(report.Events) == 0 {
		t.Errorf("%+v", report)
	}
	for _, e := range report.Events {
		if !events.About(&e.Event, "eu") {
			t.Errorf("%+v is not about eu", e)
		}
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "24h": now.Add(-24 * time.Hour), "2026-01-01T03:00:00Z": time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC),
	} {
		if got, err := sinceTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "-1h"} {
		if _, err := sinceTime(text, now); !isUsage(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestEachKindOfEventHasWords of its own.
func TestEachKindOfEventHasWords(t *testing.T) {
	kinds := []replication.EventKind{
		replication.EventEpoch, replication.EventCharter, replication.EventAlarm, replication.EventSealed,
		replication.EventUnsealed, replication.EventRefused, replication.EventVote, replication.EventYielded,
		replication.EventDiverged, replication.EventKept, replication.EventInstalled, replication.EventSlotLost,
		replication.EventSlotBack, replication.EventLeads, replication.EventStepped, replication.EventFenced,
		replication.EventUnfenced, replication.EventTookOver, replication.EventOrdered, replication.EventStarted,
		replication.EventGap, replication.EventFailback,
	}
	var seen []string
	for _, kind := range kinds {
		teller := eventTeller{}
		e := replication.Event{
			Kind: kind, Region: "us", Other: "eu", Epoch: 3, Charter: &replication.Charter{Epoch: 3, Number: 1},
			Alarm: &replication.AlarmEvent{Kind: "NOSPACE", Member: 7}, Order: &replication.Order{Op: "switchover"},
		}
		text := teller.text(&e)
		if text == "" || strings.HasPrefix(text, "us "+string(kind)+" ") || slices.Contains(seen, text) {
			t.Errorf("%s: %q", kind, text)
		}
		seen = append(seen, text)
	}
	teller := eventTeller{}
	if text := teller.text(&replication.Event{Kind: "later", Region: "us"}); text != "us later" {
		t.Errorf("a kind of a later version: %q", text)
	}
}

// TestACharterIsToldByWhatItChanges.
func TestACharterIsToldByWhatItChanges(t *testing.T) {
	teller := eventTeller{}
	c := replication.Charter{Epoch: 1, Number: 1, Lease: 3 * time.Second, Automatic: true,
		Voters: []timeline.Voter{{ID: "eu"}, {ID: "us"}}}
	tell := func(want string) {
		t.Helper()
		is := c
		text := teller.text(&replication.Event{Kind: replication.EventCharter, Charter: &is})
		if !strings.Contains(text, want) {
			t.Errorf("%q, want %q", text, want)
		}
		c.Number++
	}
	tell("charter 1 of epoch 1: eu, us vote; lease 3s; the primary moves by itself")
	c.Paused = "work"
	tell(": that it does is paused: work")
	c.Paused = ""
	tell(": that it does is resumed")
	tell(": written anew")
}

func TestWhoWasNotAskedIsNamed(t *testing.T) {
	r := eventReport{
		Nodes: []eventSource{
			{Node: "us-1", Region: "us", Ahead: [2]float64{2, 3}, Problem: "events are not kept: full"},
			{Node: "us-2", Region: "us", Ahead: [2]float64{-0.1, 0.4}},
		},
		Silent: []eventSilent{{Node: "eu-1", Region: "eu", Why: "refused"}, {Region: "asia", Why: "never heard"}},
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"no events\n", "WARNING: us-1 (us): events are not kept: full\n", "the clock of us-1 is 2.0 s ahead",
		"NO ANSWER: eu-1 (eu): refused\n", "NO ANSWER: region asia: never heard\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "clock of us-2") {
		t.Error(out.String())
	}
}

// A region of which the fleet has none is named as that: else no events of a mistyped name would say that all is quiet.
func TestEventsOfNoRegion(t *testing.T) {
	f := &replication.FleetStatus{Regions: []replication.RegionStatus{{Name: "us"}, {Name: "eu"}}}
	const want = `the fleet has no region "uz" now, but us, eu`
	if text := strangeRegion(f, "uz"); text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if strangeRegion(f, "") != "" || strangeRegion(f, "eu") != "" {
		t.Error("a region that there is, or none at all, is called strange")
	}
	at, _ := oneOfTwo(t)
	client, err := admin.NewClient([]string{at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	crowd := eventCrowd{client: client, bound: time.Hour, silence: 200 * time.Millisecond,
		question: events.Question{Region: "uz"}}
	report, err := crowd.report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if report.print(&out); !strings.Contains(out.String(), "NOTE: "+want) {
		t.Error(out.String())
	}
}

// What a node saw within the last hour is told, whatever its clock says: its events have times of that clock.
func TestEventsOfAClockThatIsWrong(t *testing.T) {
	now := time.Now()
	for name, off := range map[string]time.Duration{"behind": -3 * time.Hour, "ahead": 3 * time.Hour, "right": 0} {
		var asked []time.Time
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			since, err := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
			if err != nil {
				t.Error(err)
			}
			asked = append(asked, since)
			page := events.Page{Node: "us-1", Log: "a", Last: 2, Now: time.Now().Add(off)}
			for _, ago := range []time.Duration{2 * time.Hour, 10 * time.Minute} {
				if at := now.Add(off - ago); at.After(since) {
					page.Events = append(page.Events, events.Record{Seq: 1, At: at,
						Event: replication.Event{Kind: replication.EventStarted, Text: ago.String()}})
				}
			}
			text, err := admin.Marshal(&page)
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
		crowd := eventCrowd{bound: time.Minute, question: events.Question{Since: now.Add(-time.Hour)}}
		node := &eventNode{name: "us-1", client: client}
		a := crowd.ask(t.Context(), node, 0, func() {})
		if a.err != nil || len(a.page.Events) != 1 || a.page.Events[0].Text != "10m0s" {
			t.Errorf("%s: %+v, %v", name, a.page, a.err)
			continue
		}
		a.take()
		before := len(asked)
		if a = crowd.ask(t.Context(), node, 0, func() {}); a.err != nil || len(asked) != before+1 ||
			asked[before].Sub(asked[before-1]).Abs() > time.Second {
			t.Errorf("%s: asked anew by another time: %v, %v", name, asked, a.err)
		}
	}
}
