package authority

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var today = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func fleetOf(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "certs")
	for _, name := range []string{Peers, Clients} {
		if err := Make(dir, name, "mimir", today); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var members = []Member{
	{Fleet: "mimir", Region: "us", Name: "us-1", Peer: []string{"10.1.0.1"},
		Client: []string{"10.1.0.1", "us-1.example"}},
	{Fleet: "mimir", Region: "witness", Name: "w1", Peer: []string{"w1.example"}},
}

func TestACertificateIsOfItsNodeAlone(t *testing.T) {
	dir := fleetOf(t)
	if _, err := Members(dir, members, Terms{Lasts: 365 * day}, today); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		file, authority string
		valid, invalid  []string
		usage           x509.ExtKeyUsage
	}{
		{"us-1/peer", Peers, []string{"us-1.us.mimir", "10.1.0.1"}, []string{"us-2.us.mimir", "localhost"},
			x509.ExtKeyUsageClientAuth},
		{"us-1/server", Clients, []string{"us-1", "10.1.0.1", "127.0.0.1", "localhost", "us-1.example"},
			[]string{"us-1.us.mimir"}, x509.ExtKeyUsageServerAuth},
		{"w1/peer", Peers, []string{"w1.witness.mimir", "w1.example"}, []string{"us-1.us.mimir"},
			x509.ExtKeyUsageServerAuth},
	} {
		c, err := ReadCertificate(filepath.Join(dir, test.file+".crt"))
		if err != nil {
			t.Fatal(err)
		}
		ca, err := ReadCertificate(filepath.Join(dir, filepath.Dir(test.file), test.authority+".crt"))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca)
		if _, err := c.Verify(x509.VerifyOptions{
			Roots: pool, KeyUsages: []x509.ExtKeyUsage{test.usage}, CurrentTime: today.Add(300 * day),
		}); err != nil {
			t.Errorf("%s: %v", test.file, err)
		}
		for _, name := range test.valid {
			if err := c.VerifyHostname(name); err != nil {
				t.Errorf("%s: %v", test.file, err)
			}
		}
		for _, name := range test.invalid {
			if c.VerifyHostname(name) == nil {
				t.Errorf("%s is valid for %s", test.file, name)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "w1", "server.crt")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a witness has a certificate for clients: %v", err)
	}
	everyFile(t, dir, func(path string, info fs.FileInfo) {
		if strings.HasSuffix(path, ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		if !strings.HasSuffix(path, ".key") && !strings.HasSuffix(path, ".crt") {
			t.Errorf("%s is left over", path)
		}
	})
}

func everyFile(t *testing.T, dir string, visit func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			visit(path, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhatIsDueIsMadeAnew(t *testing.T) {
	dir := fleetOf(t)
	terms := Terms{Lasts: 365 * day, Within: 30 * day}
	makes := func(want int, why string, m []Member, at time.Time) {
		t.Helper()
		made, err := Members(dir, m, terms, at)
		if err != nil || len(made) != want {
			t.Fatalf("made %+v, %v, want %d", made, err, want)
		}
		for _, one := range made {
			if !strings.Contains(one.Why, why) {
				t.Errorf("%s: %s, want %s", one.Path, one.Why, why)
			}
		}
	}
	makes(3, "missing", members, today)
	one, err := Members(dir, members, Terms{Lasts: terms.Lasts, Within: 400 * day}, today)
	if err != nil || len(one) != 3 {
		t.Fatalf("made %+v, %v", one, err)
	}
	key, err := os.ReadFile(one[0].Path + ".key")
	if err == nil { // as if whoever replaced both was stopped in between
		err = os.WriteFile(one[1].Path+".key", key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	makes(1, "not the key", members, today)
	makes(0, "", members, today.Add(300*day))
	makes(3, "ends in", members, today.Add(340*day))
	moved := append([]Member(nil), members...)
	moved[1].Peer = []string{"w2.example"}
	makes(1, "names are others", moved, today.Add(341*day))
	if err := Make(dir, Peers, "mimir", today); !errors.Is(err, ErrExists) {
		t.Errorf("a second authority: %v", err)
	}
	for _, suffix := range []string{".key", ".crt"} {
		if err := os.Remove(filepath.Join(dir, Clients+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Make(dir, Clients, "mimir", today); err != nil {
		t.Fatal(err)
	}
	makes(1, "another authority", moved, today.Add(341*day))
}

func TestAClient(t *testing.T) {
	dir := fleetOf(t)
	made, err := One(dir, "operator", Terms{Lasts: 20 * 365 * day}, today)
	if err != nil || len(made) != 1 {
		t.Fatalf("%+v, %v", made, err)
	}
	c, err := ReadCertificate(filepath.Join(dir, "operator.crt"))
	if err != nil || c.Subject.CommonName != "operator" || len(c.ExtKeyUsage) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	ca, err := ReadCertificate(filepath.Join(dir, Clients+".crt"))
	if err != nil || c.NotAfter.After(ca.NotAfter) {
		t.Errorf("until %s, its authority until %s, %v", c.NotAfter, ca.NotAfter, err)
	}
}

// Of an authority that has ended nothing is made, and nobody is told that nothing is due; what is due of the other one
// is made.
func TestAnAuthorityThatHasEnded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	for name, made := range map[string]time.Time{Peers: today.AddDate(-authorityYears, 0, 1), Clients: today} {
		if err := Make(dir, name, "mimir", made); err != nil {
			t.Fatal(err)
		}
	}
	terms := Terms{Lasts: 365 * day, Within: 30 * day}
	if made, err := Members(dir, members, terms, today); err != nil || len(made) != 3 {
		t.Fatalf("made %+v, %v", made, err)
	}
	made, err := Members(dir, members, terms, today.Add(340*day))
	if !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), Peers) || strings.Contains(err.Error(), Clients) {
		t.Errorf("got %v", err)
	}
	if len(made) != 1 || filepath.Base(made[0].Path) != "server" {
		t.Errorf("made %+v", made)
	}
	if _, err := One(dir, "operator", terms, today.AddDate(authorityYears, 0, 1)); !errors.Is(err, ErrEnded) {
		t.Errorf("of a client: %v", err)
	}
}
