package packages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/rpm"

	"github.com/mimir-kv/mimir/deploy/packages/linux"
)

// takesAnRPM does with an RPM what was done with the deb before, of which nothing is left: dnf installs it, beside a
// package that stands for what Debian has of its own, a node starts, and is stopped when dnf removes it.
func (m *machine) takesAnRPM(t *testing.T) {
	m.sh.does(t, "rm -r /var/lib/mimir /data /etc/mimir /etc/systemd/system/mimir.service.d\nuserdel mimir\n")
	m.hasUseradd(t)
	const yes = "echo y | " // to what dnf asks
	out := m.sh.does(t, yes+m.gets(t, linux.RPM, stamp.Version))
	if !strings.Contains(out, "set name and region in /etc/mimir/mimir.yaml") {
		t.Error("the package does not say what is next")
	}
	if got := m.has(t, "UnitFileState") + " " + m.has(t, "ActiveState"); got != "disabled inactive" {
		t.Errorf("the unit is %s", got)
	}
	m.starts(t)
	m.sh.does(t, yes+"dnf remove mimir\n")
	m.becomes(t, "LoadState=not-found", "ActiveState=inactive")
	for path, stays := range map[string]bool{
		"/var/lib/mimir/IDENTITY": true, linux.Configuration + ".rpmsave": true, linux.Configuration: false,
		"/etc/systemd/system/multi-user.target.wants/mimir.service": false,
	} {
		if _, err := os.Lstat(filepath.Join(m.dir, path)); errors.Is(err, os.ErrNotExist) == stays {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// hasUseradd tells rpm that there is what it did not install.
func (m *machine) hasUseradd(t *testing.T) {
	t.Helper()
	file, err := os.Create(filepath.Join(m.dir, "root", "shadow-utils.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "shadow-utils", Version: "1.0.0", Arch: "all",
		Overridables: nfpm.Overridables{Provides: []string{"/usr/sbin/useradd"}},
	})
	if err := rpm.DefaultRPM.Package(info, file); err != nil {
		t.Fatal(err)
	}
	m.sh.does(t, "rpm --force-debian --install shadow-utils.rpm\n")
}
