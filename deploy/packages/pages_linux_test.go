package packages

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/deploy/packages/linux"
)

// TestAMachineAsWritten does in a machine that systemd has booted what packages.md, operating.md and runbooks.md say of
// one, as it stands there: the deb is put in, a node is told who it is, started, asked, reloaded, encrypted, given
// another directory, upgraded, restarted with its machine, and taken away.
func TestAMachineAsWritten(t *testing.T) {
	m := aMachine(t)
	for _, chapter := range []struct {
		name string
		does func(*machine, *testing.T)
	}{
		{"install", (*machine).installs},
		{"a wrong configuration", (*machine).refuses},
		{"start", (*machine).starts},
		{"runbooks", (*machine).tells},
		{"reload", (*machine).reloads},
		{"a node that dies", (*machine).startsAgain},
		{"encryption", (*machine).encrypts},
		{"a directory elsewhere", (*machine).moves},
		{"upgrade", (*machine).upgrades},
		{"reboot", (*machine).reboots},
		{"remove", (*machine).removes},
		{"RPM", (*machine).takesAnRPM},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { chapter.does(m, t) }) {
			return
		}
	}
}

// installs puts the package in: nothing starts.
func (m *machine) installs(t *testing.T) {
	if out := m.sh.does(t, m.gets(t, linux.Deb, stamp.Version)); !strings.Contains(out, "set name and region in /etc/mimir/mimir.yaml") {
		t.Error("the package does not say what is next")
	}
	if got := m.has(t, "UnitFileState") + " " + m.has(t, "ActiveState"); got != "disabled inactive" {
		t.Errorf("the unit is %s", got)
	}
}

// starting is the block of packages.md that has a configuration checked and the node started.
const starting = "runuser -u mimir"

// refuses does it with the configuration as it was installed: the check says what is missing, and so does the node,
// which ends with status 2 and is not started again.
func (m *machine) refuses(t *testing.T) {
	check, start, _ := strings.Cut(block(t, "packages.md", "sh", starting), "\n")
	if out, status := m.sh(check); status != 2 || !strings.Contains(out, "name is missing") {
		t.Errorf("%s: %d\n%s", check, status, out)
	}
	m.sh.does(t, start)
	m.becomes(t, "ActiveState=failed", "SubState=failed", "ExecMainStatus=2", "NRestarts=0")
	m.says(t, "name is missing")
}

// starts tells the node who it is, and does it again.
func (m *machine) starts(t *testing.T) {
	configure(t, filepath.Join(m.dir, linux.Configuration))
	m.edits(t, `#listen-http: ""`, "listen-http: 127.0.0.1:2381")
	out := m.sh.does(t, block(t, "packages.md", "sh", starting))
	if !strings.Contains(out, "node us-1 of region us can start") {
		t.Error("the check does not say that the node can start")
	}
	m.sh.puts(t, "greeting", "hello")
	m.isReady(t)
	m.becomes(t, "ActiveState=active", "SubState=running", "UnitFileState=enabled")
}

// tellsOf are the lines of runbooks.md that ask a machine, and what they say of one on which all is well.
var tellsOf = map[string]*regexp.Regexp{
	"systemctl status mimir":    regexp.MustCompile(`(?s)Active: active \(running\).* msg=serving `),
	"journalctl -u mimir -n 50": regexp.MustCompile(`name is missing(?s:.*) msg=serving .* version=`),
	"journalctl -k -n 50":       regexp.MustCompile(`^-- No entries --`), // the kernel's own are those of the host
	"iostat -x 5 3":             regexp.MustCompile(`(?s)(Device .* %util.*){3}`),
}

var asksTheMachine = regexp.MustCompile(`^(systemctl|journalctl|iostat) `)

// tells runs them.
func (m *machine) tells(t *testing.T) {
	ran := map[string]bool{}
	for _, text := range blocks(t, "runbooks.md", "sh", "") {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			if !asksTheMachine.MatchString(line) || ran[line] {
				continue
			}
			ran[line] = true
			out, says := m.sh.does(t, line+"\n"), tellsOf[line]
			if says == nil || !says.MatchString(out) {
				t.Errorf("%s does not say %v", line, says)
			}
		}
	}
	if len(ran) != len(tellsOf) {
		t.Errorf("runbooks.md has %v", ran)
	}
}

// reloads has the node read its settings anew: it goes on as the process that it was.
func (m *machine) reloads(t *testing.T) {
	before := m.has(t, "MainPID")
	m.edits(t, "#log-level: info", "log-level: debug")
	m.sh.does(t, "systemctl reload mimir\n")
	m.says(t, `msg="a setting has changed" node=us-1 region=us setting=log-level from=info to=debug`)
	m.edits(t, "log-level: debug", "log-level: nothing")
	m.sh.does(t, "systemctl reload mimir\n")
	m.says(t, "settings not read anew: all stay as they are")
	m.edits(t, "log-level: nothing", "log-level: info")
	m.sh.does(t, "systemctl reload mimir\n")
	m.says(t, "setting=log-level from=debug to=info")
	if after := m.has(t, "MainPID"); after != before {
		t.Errorf("process %s went on as %s", before, after)
	}
}

// startsAgain kills the node: it is started again. Stopped, it ends in good order, and is not.
func (m *machine) startsAgain(t *testing.T) {
	m.sh.does(t, "systemctl kill -s KILL mimir\n")
	m.becomes(t, "NRestarts=1", "ActiveState=active")
	m.isReady(t)
	m.sh.does(t, "systemctl stop mimir\n")
	m.becomes(t, "ActiveState=inactive", "SubState=dead", "Result=success", "ExecMainStatus=0")
	m.says(t, "msg=stopping")
	m.sh.does(t, "systemctl start mimir\n")
	m.isReady(t)
}

// encrypts turns encryption on, has what is there written anew, and rotates the key.
func (m *machine) encrypts(t *testing.T) {
	at := blocks(t, "operating.md", "sh", "umask 077\n")
	if len(at) != 2 {
		t.Fatalf("operating.md has %d blocks about keys", len(at))
	}
	m.sh.does(t, at[0])
	m.isReady(t)
	list := block(t, "operating.md", "sh", "mimir keys list")
	if out := m.sh.does(t, list); !strings.Contains(out, "  active\n") {
		t.Errorf("turned on, there are\n%s", out)
	}
	before := m.has(t, "MainPID")
	out := m.sh.does(t, block(t, "operating.md", "sh", "systemctl stop mimir\nsudo -u mimir mimir keys rewrite"))
	if !strings.Contains(out, "all of /var/lib/mimir is under the first key") {
		t.Error("it is not all written anew")
	}
	m.isReady(t)
	if out := m.sh.does(t, list); strings.Contains(out, "plain") || m.has(t, "MainPID") == before {
		t.Errorf("written anew by the time that process %s was %s, there are\n%s", before, m.has(t, "MainPID"), out)
	}
	before = m.has(t, "MainPID")
	m.sh.does(t, at[1])
	m.says(t, "new files are under another key now")
	if after := m.has(t, "MainPID"); after != before {
		t.Errorf("process %s went on as %s", before, after)
	}
	out = m.sh.does(t, "stat --format '%a %U' /etc/mimir/data.keys; grep -vc '^#' /etc/mimir/data.keys\n")
	if out != "600 mimir\n2\n" {
		t.Errorf("the keys are in a file that is, and has lines, %s", out)
	}
}

// moves gives the node a directory that the unit does not let it write to, by the text that packages.md has for it: the
// editor of this administrator writes that, and nothing else.
func (m *machine) moves(t *testing.T) {
	text := block(t, "packages.md", "ini", "[Service]\n")
	editor := "#!/bin/sh\ncat >\"$1\" <<'END'\n" + text + "END\n"
	if err := os.WriteFile(filepath.Join(m.dir, "root", "editor"), []byte(editor), 0o755); err != nil {
		t.Fatal(err)
	}
	// systemctl edit wants a terminal.
	before, edit, ok := strings.Cut(block(t, "packages.md", "sh", "install -d"), "systemctl edit")
	if !ok {
		t.Fatal("packages.md does not edit the unit")
	}
	m.sh.does(t, before+"SYSTEMD_EDITOR=/root/editor script --quiet --return --command "+
		quoted("systemctl edit"+strings.TrimRight(edit, "\n"))+" /dev/null </dev/null\n")
	m.edits(t, "\ndata-dir: /var/lib/mimir\n", "\ndata-dir: /data/mimir\n")
	m.sh.does(t, "systemctl restart mimir\n")
	m.sh.puts(t, "greeting", "hello")
	m.isReady(t)
	m.becomes(t, "DropInPaths=/etc/systemd/system/mimir.service.d/override.conf")
	m.sh.does(t, "test -f /data/mimir/IDENTITY\n")
}

// upgrades puts the next version in below a node that runs, which goes on with the version before until its restart.
func (m *machine) upgrades(t *testing.T) {
	before := m.has(t, "MainPID")
	if out := m.sh.does(t, m.gets(t, linux.Deb, "v1.2.4")); !strings.Contains(out, "systemctl restart mimir: one node at a time") {
		t.Error("the package does not say what is next")
	}
	if after := m.has(t, "MainPID"); after != before {
		t.Errorf("process %s went on as %s", before, after)
	}
	m.isReady(t)
	m.sh.does(t, "systemctl restart mimir\n")
	m.isReady(t)
	if after := m.has(t, "MainPID"); after == before {
		t.Errorf("process %s goes on after the restart", before)
	}
}

// reboots the machine: the node is started with it.
func (m *machine) reboots(t *testing.T) {
	const which = "cat /proc/sys/kernel/random/boot_id\n"
	before := m.sh.does(t, which)
	m.sh("systemctl reboot")
	eventually(t, "the machine is booted anew", func() (bool, string) {
		now, status := m.sh(which)
		return status == 0 && now != before, now
	})
	m.isUp(t)
	m.isReady(t)
}

// removes takes the package away: the node is stopped and disabled, and what it kept stays.
func (m *machine) removes(t *testing.T) {
	m.sh.does(t, "apt remove --yes mimir\n")
	m.becomes(t, "LoadState=not-found", "ActiveState=inactive")
	out := m.sh.does(t, "apt purge --yes mimir\n")
	for _, left := range []string{"/var/lib/mimir", "/etc/mimir/tls"} {
		_, err := os.Stat(filepath.Join(m.dir, left))
		said := strings.Contains(out, left+" is left")
		if there := err == nil; there != said {
			t.Errorf("%s is there: %v, told: %v", left, there, said)
		}
	}
	for path, stays := range map[string]bool{
		"/var/lib/mimir/IDENTITY": true, "/data/mimir/IDENTITY": true, "/etc/mimir/data.keys": true,
		linux.Configuration: false, "/etc/systemd/system/multi-user.target.wants/mimir.service": false,
	} {
		if _, err := os.Lstat(filepath.Join(m.dir, path)); errors.Is(err, os.ErrNotExist) == stays {
			t.Errorf("%s: %v", path, err)
		}
	}
	if !slices.Contains(strings.Fields(m.sh.does(t, "getent passwd mimir | tr : ' '\n")), "mimir") {
		t.Error("the user is gone")
	}
}
