package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/replication"
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

// A region shares its history with those who are well, unless that of the fleet is known to be another one: who answers
// well then has that one.
func TestWhoSharesTheHistory(t *testing.T) {
	const primary, secondary, diverged = replication.RolePrimary, replication.RoleSecondary, replication.RoleDiverged
	peer := func(role replication.Role, epoch replication.Epoch, healthy bool) replication.PeerStatus {
		return replication.PeerStatus{Role: role, Epoch: epoch, Healthy: healthy}
	}
	for name, c := range map[string]struct {
		role    replication.Role
		primary string // as it is known here, in us
		peers   []replication.PeerStatus
		shares  bool
	}{
		"alone in its fleet": {role: primary, primary: "us", shares: true},
		"followed":           {primary, "us", []replication.PeerStatus{peer(secondary, 2, true)}, true},
		"follows":            {secondary, "eu", []replication.PeerStatus{peer(primary, 2, true)}, true},
		"cut off":            {primary, "us", []replication.PeerStatus{{}}, false},
		"not well":           {primary, "us", []replication.PeerStatus{peer(secondary, 2, false)}, false},
		"half":               {primary, "us", []replication.PeerStatus{peer(secondary, 2, true), {}, {}}, false},
		"most":               {primary, "us", []replication.PeerStatus{peer(secondary, 2, true), {}}, true},
		"one is behind":      {primary, "us", []replication.PeerStatus{peer(secondary, 1, true)}, true},
		"diverged":           {diverged, "eu", []replication.PeerStatus{peer(primary, 2, true)}, false},
		"a higher claim":     {primary, "eu", []replication.PeerStatus{peer(secondary, 2, true)}, false},
		"a later epoch":      {primary, "us", []replication.PeerStatus{peer(primary, 3, true)}, false},
		"a later one elsewhere": {
			secondary, "eu", []replication.PeerStatus{peer(primary, 2, true), peer("", 3, false)}, false,
		},
		"two in one epoch": {primary, "us", []replication.PeerStatus{peer(primary, 2, true)}, false},
		"two others in one epoch": {
			secondary, "eu", []replication.PeerStatus{peer(primary, 2, true), peer(primary, 2, true)}, false,
		},
	} {
		h := &replication.HealthStatus{Region: "us", Role: c.role, Primary: c.primary, Epoch: 2, Peers: c.peers}
		if got := sharesHistory(h); got != c.shares {
			t.Errorf("%s: shares %t", name, got)
		}
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
		!at.Shared || uint64(at.Position) < s.Note.Position {
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
