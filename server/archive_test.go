package server

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/replication"
)

// An archive that is kept in a region which follows is behind the primary by what the region is behind, too.
func TestTheArchiveOfASecondaryIsBehindThePrimary(t *testing.T) {
	own := archive.Status{Active: true, Known: true, Position: 90, Behind: 3, Lag: time.Second}
	for name, c := range map[string]struct {
		role     replication.Role
		lag      replication.Lag
		archived archive.Status
		behind   int64
		late     time.Duration
	}{
		"primary": {replication.RolePrimary, replication.Lag{Seconds: -1}, own, 3, time.Second},
		"follows": {replication.RoleSecondary, replication.Lag{Commands: 7, Seconds: 60}, own, 10, 61 * time.Second},
		"cut off": {replication.RoleSecondary, replication.Lag{Seconds: -1}, own, -1, -1},
		"silent":  {replication.RoleSecondary, replication.Lag{Commands: 7, Seconds: 60, AtLeast: true}, own, -1, -1},
		"unread": {replication.RoleSecondary, replication.Lag{Commands: 7, Seconds: 60},
			archive.Status{Active: true, Behind: -1, Lag: -1}, -1, -1},
	} {
		s := c.archived
		behindPrimary(&s, &replication.HealthStatus{Role: c.role, Lag: c.lag})
		if s.Behind != c.behind || s.Lag != c.late {
			t.Errorf("%s: %+v, want %d and %v behind", name, s, c.behind, c.late)
		}
	}
}

// A gap is told with its age from the first scrape on, for as long as the node that archives knows of it.
func TestAGapOfTheArchiveIsAFigure(t *testing.T) {
	gap := &archive.Gap{To: 9, At: time.Now().Add(-time.Hour)}
	ahead := &archive.Gap{To: 9, At: time.Now().Add(24 * time.Hour)}
	for name, c := range map[string]struct {
		status archive.Status
		told   bool
		least  float64
	}{
		"found":                     {archive.Status{Active: true, Gaps: 1, Gap: gap}, true, time.Hour.Seconds()},
		"none":                      {archive.Status{Active: true}, false, 0},
		"another's":                 {archive.Status{Gaps: 1, Gap: gap}, false, 0},
		"elsewhere":                 {archive.Status{Elsewhere: "eu", Gap: gap}, false, 0},
		"of no time":                {archive.Status{Active: true, Gap: &archive.Gap{To: 9}}, false, 0},
		"by a clock that went back": {archive.Status{Active: true, Gap: ahead}, true, 0},
	} {
		registry := prometheus.NewRegistry()
		registry.MustRegister(archiveMetrics{status: func() *archive.Status { return &c.status }})
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		told := false
		for _, f := range families {
			if f.GetName() != "mimir_archive_gap_age_seconds" {
				continue
			}
			told = true
			if age := f.GetMetric()[0].GetGauge().GetValue(); age < c.least {
				t.Errorf("%s: it is %v s old", name, age)
			}
		}
		if told != c.told {
			t.Errorf("%s: told %v, want %v", name, told, c.told)
		}
	}
}

// A node that leaves the archive to another region tells so, as its metric does: where nobody archives, since no region
// has that name or none of its nodes an archive.to, that is seen.
func TestANodeTellsWhoIsToArchive(t *testing.T) {
	for name, c := range map[string]struct {
		to, region string
		tells      *archive.Status
		active     []string
	}{
		"nobody":      {"", "", nil, nil},
		"the primary": {"file:///archive", "", nil, nil},
		"this one":    {"file:///archive", "us", nil, nil},
		"another":     {"file:///archive", "eu", &archive.Status{Elsewhere: "eu", Behind: -1, Lag: -1}, []string{"0"}},
	} {
		config := testConfig(t, "us-1")
		config.Replication.RegionID = "us"
		config.Archive.To, config.Archive.Region = c.to, c.region
		got := elsewhere(config)
		if (got == nil) != (c.tells == nil) || got != nil && *got != *c.tells {
			t.Errorf("%s: %+v, want %+v", name, got, c.tells)
		}
		registry := prometheus.NewRegistry()
		registry.MustRegister(archiveMetrics{status: func() *archive.Status { return got }})
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, f := range families {
			if f.GetName() != "mimir_archive_active" {
				t.Errorf("%s: %s is told", name, f.GetName())
				continue
			}
			said = append(said, strconv.FormatFloat(f.GetMetric()[0].GetGauge().GetValue(), 'g', -1, 64))
		}
		if !slices.Equal(said, c.active) {
			t.Errorf("%s: active is %v, want %v", name, said, c.active)
		}
	}
}
