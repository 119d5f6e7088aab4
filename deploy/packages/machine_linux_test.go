package packages

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/deploy/packages/linux"
)

// machine is a Debian with little in it that systemd has booted in a room, with a network of its own in which there is
// the loopback alone.
type machine struct {
	dir string // that is / for it
	sh  shell  // of root, in his home
}

// boots has a room boot a machine, and boot it again when it wants that, which it says by this status.
const boots = `while
	systemd-nspawn --quiet --register=no --keep-unit --private-network --link-journal=no --resolv-conf=off \
		--timezone=off --console=pipe --machine=us-1 --directory=%s --boot </dev/null &
	echo $! >/run/machine
	status=0
	wait $! || status=$?
	[ $status = 133 ]
do :; done &`

// aMachine boots one. It ends with the test.
func aMachine(t *testing.T) *machine {
	t.Helper()
	needs(t, "mmdebstrap", "systemd-nspawn", "unshare", "nsenter", "ip")
	m := &machine{dir: aDebian(t)}
	r := aRoom(t, fmt.Sprintf(boots, m.dir))
	m.sh = func(script string) (string, int) {
		// The first process of the machine is the child of what booted it, another one after each boot.
		return r.run("exec nsenter --target $(cat /proc/$(cat /run/machine)/task/*/children) --all " +
			"env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 " +
			"TERM=dumb sh -c " + quoted("cd /root\n"+script))
	}
	m.isUp(t)
	return m
}

// quoted is a text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// isUp waits until the machine is booted, with all of its units or without one that this kind of machine does not let it
// have.
func (m *machine) isUp(t *testing.T) {
	t.Helper()
	eventually(t, "the machine is up", func() (bool, string) {
		out, status := m.sh("systemctl is-system-running --wait")
		return status == 0 || out == "degraded\n", out
	})
}

// forDebian bounds what is fetched from others, and is given up if they do not answer.
const forDebian = 6 * time.Minute

// aDebian makes a root of Debian, of the release of this machine: systemd, apt and dnf, with what the pages use beside.
// It has no kill but the shell's own.
func aDebian(t *testing.T) string {
	t.Helper()
	dir := root(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	release := settingsOf(string(read(t, "/etc/os-release")))
	if release["ID"] != "debian" {
		t.Skip("a root of Debian is made on Debian")
	}
	ctx, cancel := context.WithTimeout(t.Context(), forDebian)
	defer cancel()
	c := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		"mmdebstrap", "--quiet", "--variant=apt", `--aptopt=Acquire::Languages "none"`,
		"--include=systemd,systemd-sysv,sysstat,sudo,curl,dnf,rpm", release["VERSION_CODENAME"], dir)
	if out, err := c.CombinedOutput(); err != nil {
		said := strings.Fields(string(out))
		t.Skipf("a root of Debian cannot be made: %v: %s", err, strings.Join(said[max(0, len(said)-40):], " "))
	}
	for name, text := range map[string]string{"hostname": "us-1\n", "hosts": "127.0.0.1 localhost us-1\n"} {
		anybodys(t, filepath.Join(dir, "etc", name), text)
	}
	for _, timer := range []string{"apt-daily", "apt-daily-upgrade"} { // apt has one user at a time
		if err := os.Symlink("/dev/null", filepath.Join(dir, "etc/systemd/system", timer+".timer")); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inThePage are the packages that packages.md names, and how the block begins that installs one.
var inThePage = map[linux.Format]struct{ name, begins string }{
	linux.Deb: {"mimir_0.4.0-1_amd64.deb", "apt install"},
	linux.RPM: {"mimir-0.4.0-1.x86_64.rpm", "dnf install"},
}

// gets puts a package into root's home, and returns the block of packages.md that installs the one which is named
// there, with the name of this one.
func (m *machine) gets(t *testing.T, f linux.Format, version string) (install string) {
	t.Helper()
	p := linux.Package{Stamp: build.Stamp{Version: version}, Arch: runtime.GOARCH}
	name, page := p.Name(f), inThePage[f]
	if err := os.WriteFile(filepath.Join(m.dir, "root", name), aPackage(t, f, version), 0o644); err != nil {
		t.Fatal(err)
	}
	install = block(t, "packages.md", "sh", page.begins)
	if !strings.Contains(install, page.name) {
		t.Fatalf("packages.md does not install %s", page.name)
	}
	return strings.ReplaceAll(install, page.name, name)
}

// has returns a property of the unit.
func (m *machine) has(t *testing.T, property string) string {
	t.Helper()
	out, _ := m.sh("systemctl show mimir --value --property=" + property)
	return strings.TrimSpace(out)
}

// becomes waits until properties of the unit, as in "ActiveState=active", are so.
func (m *machine) becomes(t *testing.T, properties ...string) {
	t.Helper()
	eventually(t, strings.Join(properties, " "), func() (bool, string) {
		out, _ := m.sh("systemctl show mimir; systemctl status mimir --lines=40")
		for _, p := range properties {
			if !strings.Contains("\n"+out, "\n"+p+"\n") {
				return false, out
			}
		}
		return true, ""
	})
}

// says waits until the journal of the unit has a text since the node was started last. What a node says that ends at
// once may come to the journal when systemd has forgotten by which start: it goes by the unit and the time.
func (m *machine) says(t *testing.T, text string) {
	t.Helper()
	eventually(t, "the node says "+text, func() (bool, string) {
		out, _ := m.sh(`journalctl -u mimir --since "$(systemctl show mimir --timestamp=us+utc --value ` +
			`--property=ExecMainStartTimestamp)"`)
		return strings.Contains(out, text), out
	})
}

// isReady waits for a node as docs/operating.md does during an upgrade, and then for a key that it holds.
func (m *machine) isReady(t *testing.T) {
	t.Helper()
	until := strings.ReplaceAll(block(t, "operating.md", "sh", "until curl"), "10.1.0.2:2381", "127.0.0.1:2381")
	m.sh.does(t, until)
	m.sh.gets(t, "greeting", "hello")
}

// edits has the configuration say something else.
func (m *machine) edits(t *testing.T, from, to string) {
	t.Helper()
	file := filepath.Join(m.dir, linux.Configuration)
	text := string(read(t, file))
	if strings.Count(text, from) != 1 {
		t.Fatalf("%s has %q %d times", file, from, strings.Count(text, from))
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, from, to)), 0o644); err != nil {
		t.Fatal(err)
	}
}
