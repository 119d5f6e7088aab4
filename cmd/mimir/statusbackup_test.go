package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/backup/schedule"
)

// The line on backups says what is known, and of whom.
func TestTellBackups(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	other := func() *schedule.Report { return &schedule.Report{To: "s3://b", Region: "us"} }
	taker := func(f func(*schedule.Report)) *schedule.Report {
		r := other()
		r.Mine, r.Looked, r.Count = true, now, 3
		r.Newest = &schedule.Backup{At: now.Add(-time.Hour)}
		r.Due = now.Add(time.Hour)
		f(r)
		return r
	}
	nothing := func(*schedule.Report) {}
	for name, c := range map[string]struct {
		us, eu    *schedule.Report
		text, bad string
	}{
		"no settings": {},
		"well":        {us: taker(nothing), eu: other(), text: "3 in s3://b, the newest of"},
		"its age":     {us: taker(nothing), eu: other(), text: ", 1h0m0s old, as us-1 saw it at"},
		"its leader": {us: other(), eu: other(), text: "is to take them, did not answer, or there is none",
			bad: "nobody who answered takes backups"},
		"not of there": {us: other(), eu: taker(nothing), text: "is to take them, did not answer, or there is none",
			bad: "nobody who answered takes backups"},
		"none": {us: taker(func(r *schedule.Report) { r.Newest = nil }), eu: other(),
			text: "none yet in s3://b, as us-1 saw it"},
		"not looked": {us: taker(func(r *schedule.Report) { r.Looked = time.Time{} }), eu: other(),
			text: "not known to us-1 yet"},
		"given up": {us: taker(func(r *schedule.Report) { r.Astray = 23 }), eu: other(),
			text: "; 23 of what was given up, or is not of the history"},
		"doubted": {us: taker(func(r *schedule.Report) { r.Doubted = 2 }), eu: other(),
			text: "; 2 of nodes that were found to differ"},
		"taken alone": {us: taker(func(r *schedule.Report) { r.Spared, r.Apart = 2, now }), eu: other(), text: "3 in",
			bad: "2 backups of before"},
		"under way": {us: taker(func(r *schedule.Report) { r.Since = now }), eu: other(),
			text: "one is under way since"},
		"failed": {us: taker(func(r *schedule.Report) { r.Failure, r.FailedAt, r.Again = "it burns", now, now }),
			eu: other(), text: "3 in s3://b", bad: "backups failed on us-1 at"},
		"another place": {us: taker(nothing), eu: &schedule.Report{To: "s3://c", Region: "us"}, text: "3 in s3://b",
			bad: "eu-1 has other settings of backups"},
		"stuck": {us: taker(func(r *schedule.Report) { r.Stuck = 1 }), eu: other(), text: "3 in s3://b",
			bad: "us-1 still waits for a former backup.to"},
		"too old to tell": {us: taker(nothing), text: "3 in s3://b"},
		"without":         {us: taker(nothing), text: "3 in s3://b", bad: "eu-1 has no settings of backups"},
	} {
		f := &fleetReport{Regions: []regionReport{
			{nodes: []nodeReport{{name: "us-1", backup: c.us, tellsPlaces: true}}},
			{nodes: []nodeReport{{name: "eu-1", backup: c.eu, tellsPlaces: name != "too old to tell"}}},
		}}
		f.Regions[0].Name, f.Regions[1].Name = "us", "eu"
		f.tellBackups(now)
		if c.text == "" {
			if f.Backups != nil {
				t.Errorf("%s: %+v", name, f.Backups)
			}
			continue
		}
		bad := strings.Join(f.Backups.Wrong, "\n")
		if !strings.Contains(f.Backups.Text, c.text) || !strings.Contains(bad, c.bad) || (bad == "") != (c.bad == "") {
			t.Errorf("%s: %s\n%s", name, f.Backups.Text, bad)
		}
	}
}
