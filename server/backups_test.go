package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func TestBackupSettings(t *testing.T) {
	others := map[string][]string{"eu": {"10.0.0.1:2380"}}
	for name, c := range map[string]struct {
		to, region string
		regions    map[string][]string
		says       string
	}{
		"none":           {"", "", others, ""},
		"one":            {"file:///var/backups", "", nil, ""},
		"no place":       {"/var/backups", "", nil, `backup.to: not a place for objects: "/var/backups"`},
		"no region":      {"file:///var/backups", "", others, "backup.region is missing"},
		"its region":     {"file:///var/backups", "us", others, ""},
		"another":        {"file:///var/backups", "eu", others, ""},
		"no such region": {"file:///var/backups", "asia", others, `backup.region "asia" is neither`},
		"only a region":  {"", "us", nil, "there is no backup.to"},
		"a key":          {"s3://id:hush@bucket/x?region=r", "", nil, "keys are not written here"},
	} {
		config := testConfig(t, "us-1")
		r := &config.Replication
		r.RegionID, r.InitialPrimary, r.Regions = "us", "us", c.regions
		config.Backup.To, config.Backup.Region = c.to, c.region
		config.complete()
		err := config.Validate()
		if (err == nil) != (c.says == "") ||
			err != nil && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hush") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
}

// What a region has is shared as far as more than half of all are known to have come, unless the history of the fleet
// is known to be another one: who answers well then has that one.
func TestHowMuchOfTheHistoryIsShared(t *testing.T) {
	const primary, secondary, diverged = replication.RolePrimary, replication.RoleSecondary, replication.RoleDiverged
	type peers = []replication.PeerStatus
	peer := func(role replication.Role, epoch replication.Epoch, at replication.Position) replication.PeerStatus {
		return replication.PeerStatus{Role: role, Epoch: epoch, Position: at, Healthy: true}
	}
	ill := func(p replication.PeerStatus) replication.PeerStatus {
		p.Healthy = false
		return p
	}
	for name, c := range map[string]struct {
		role    replication.Role
		primary string // as it is known here, in us, at 1000
		peers   peers
		want    replication.Position
	}{
		"alone in its fleet":   {primary, "us", nil, 1000},
		"followed":             {primary, "us", peers{peer(secondary, 2, 1000)}, 1000},
		"follows":              {secondary, "eu", peers{peer(primary, 2, 1200)}, 1000},
		"cut off":              {primary, "us", peers{{}}, 0},
		"not well":             {primary, "us", peers{ill(peer(secondary, 2, 1000))}, 0},
		"half":                 {primary, "us", peers{peer(secondary, 2, 1000), {}, {}}, 0},
		"most":                 {primary, "us", peers{peer(secondary, 2, 990), {}}, 990},
		"one is behind":        {primary, "us", peers{peer(secondary, 2, 17)}, 17},
		"its first copy":       {primary, "us", peers{peer(secondary, 0, 0)}, 0},
		"of an earlier epoch":  {primary, "us", peers{peer(secondary, 1, 999)}, 0},
		"one of two is behind": {primary, "us", peers{peer(secondary, 2, 17), peer(secondary, 2, 998)}, 998},
		"both are behind":      {primary, "us", peers{peer(secondary, 2, 17), peer(secondary, 2, 400)}, 400},
		"of three":             {primary, "us", peers{peer(secondary, 2, 17), peer(secondary, 2, 400), {}}, 17},
		"diverged":             {diverged, "eu", peers{peer(primary, 2, 1000)}, 0},
		"a higher claim":       {primary, "eu", peers{peer(secondary, 2, 1000)}, 0},
		"a later epoch":        {primary, "us", peers{peer(primary, 3, 1000)}, 0},
		"a later one elsewhere": {
			secondary, "eu", peers{peer(primary, 2, 1000), ill(peer("", 3, 1000))}, 0,
		},
		"two in one epoch": {primary, "us", peers{peer(primary, 2, 1000)}, 0},
		"two others in one epoch": {
			secondary, "eu", peers{peer(primary, 2, 1000), peer(primary, 2, 1000)}, 0,
		},
	} {
		h := &replication.HealthStatus{Region: "us", Role: c.role, Primary: c.primary, Epoch: 2, Peers: c.peers}
		if got := sharedUpTo(h, timeline.Cursor{Epoch: 2, Position: 1000}); got != c.want {
			t.Errorf("%s: shared up to %d, want %d", name, got, c.want)
		}
	}
	h := &replication.HealthStatus{Region: "us", Role: secondary, Primary: "eu", Epoch: 2, Peers: peers{
		peer(primary, 2, 1000),
	}}
	if got := sharedUpTo(h, timeline.Cursor{Epoch: 1, Position: 1000}); got != 0 { // it was exchanged meanwhile
		t.Errorf("of before: shared up to %d", got)
	}
}

// A backup is shared also where others get what it has a moment later; who is far behind, or not there, is not waited
// for.
func TestABackupWaitsForOthersToShareIt(t *testing.T) {
	for name, c := range map[string]struct {
		reached []replication.Position // at 1000, at one look after the other
		want    replication.Position
		waits   time.Duration
	}{
		"there":         {[]replication.Position{1000}, 1000, 0},
		"a moment":      {[]replication.Position{990, 990, 1000}, 1000, 2 * shareTurn},
		"far behind":    {[]replication.Position{17}, 17, shareTime},
		"not heard":     {[]replication.Position{0}, 0, 0},
		"heard no more": {[]replication.Position{990, 0}, 0, shareTurn},
	} {
		virtual.Test(t, func(t *testing.T) {
			began, looks := time.Now(), 0
			got := placeOfMost(t.Context(), func() schedule.Place {
				at := c.reached[min(looks, len(c.reached)-1)]
				looks++
				return schedule.Place{Position: 1000, Shared: at}
			})
			if waited := time.Since(began); got.Shared != c.want || waited != c.waits {
				t.Errorf("%s: shared up to %d after %v, want %d after %v", name, got.Shared, waited, c.want, c.waits)
			}
		})
	}
}

// A node that leads the named region takes a backup at once if there is none, and tells of it; what it takes is whole.
func TestANodeTakesBackups(t *testing.T) {
	c := testConfig(t, "us-1")
	dir := t.TempDir()
	c.Backup.To = "file://" + filepath.ToSlash(dir)
	c.complete()
	runNode(t, c)
	admin, client := adminClient(t, c, TLS{}), etcdClient(t, c, TLS{})
	eventually(t, "a backup is told of", func(ctx context.Context) bool {
		node, err := admin.Node(ctx)
		return err == nil && node.Backup != nil && node.Backup.Mine && node.Backup.Newest != nil
	})
	node, err := admin.Node(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := node.Backup
	if b.Count != 1 || b.Failure != "" || b.Newest.Node != "us-1" || b.Done != 1 || b.To != c.Backup.To ||
		!b.Due.After(b.Newest.At) {
		t.Errorf("%+v", b)
	}
	s, err := backup.Open(filepath.Join(dir, b.Newest.Name))
	if err != nil || s.Bytes != b.Newest.Bytes || s.Note.Node != "us-1" || s.Note.Fleet != c.Replication.FleetID {
		t.Errorf("%+v, %v", s, err)
	}
	f, err := os.Open(filepath.Join(dir, b.Newest.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, err := schedule.ReadPlace(f)
	if err != nil || at == nil || at.History != b.Newest.History || at.History == "" || len(at.Reigns) != 1 ||
		at.Shared != at.Position || uint64(at.Position) < s.Note.Position {
		t.Errorf("where it is: %+v, %v", at, err)
	}
	if _, err := client.Put(t.Context(), "k", "v"); err != nil { // it serves
		t.Error(err)
	}
	page := scrape(t, c)
	checkDeclared(t, page)
	for name, want := range map[string]string{
		"mimir_backups": "1", `mimir_backup_tries_total{outcome="done"}`: "1",
		`mimir_backup_tries_total{outcome="failed"}`: "0",
	} {
		if lack := page.lacks(name); len(lack) > 0 {
			t.Errorf("%s, which is to be %s: lacks %v", name, want, lack)
		}
	}
	if len(page.series["mimir_backup_age_seconds"]) != 1 || len(page.series["mimir_backup_last_bytes"]) != 1 {
		t.Error("no age, or no size")
	}
}
