//go:build unix

package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/blakesmith/ar"

	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/deploy/packages/linux"
	"github.com/mimir-kv/mimir/server"
)

// made are packages and images that tests need and none of them changes, by format and version.
var made = map[string][]byte{}

// once makes something once for all tests, which do not run side by side.
func once(what, version string, make func() []byte) []byte {
	key := what + " " + version
	if made[key] == nil {
		made[key] = make()
	}
	return made[key]
}

// aPackage is a package for this machine's kind.
func aPackage(t *testing.T, f linux.Format, version string) []byte {
	t.Helper()
	s := stamp
	s.Version = version
	return once(string(f), version, func() []byte { return writePackage(t, f, s) })
}

// writePackage makes a package for this machine's kind.
func writePackage(t *testing.T, f linux.Format, s build.Stamp) []byte {
	t.Helper()
	var b bytes.Buffer
	p := linux.Package{Stamp: s, Arch: runtime.GOARCH, Binary: program(t), Source: source}
	if err := p.Write(f, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// installed are the files of every package but for pages and licence, with their modes.
var installed = map[string]int64{
	linux.Program: 0o755, linux.Configuration: 0o644, linux.Unit: 0o644, linux.Users: 0o644, linux.Directories: 0o644,
}

// readDeb returns the entries of the parts of a package of Debian.
func readDeb(t *testing.T, deb []byte) (control, data map[string]entry) {
	t.Helper()
	parts := map[string]map[string]entry{}
	for r := ar.NewReader(bytes.NewReader(deb)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(h.Name, "/")
		if !strings.HasSuffix(name, ".tar.gz") {
			continue
		}
		text, err := gzip.NewReader(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		parts[name] = readTar(t, text)
	}
	if len(parts) != 2 {
		t.Fatalf("the package has the parts %v", slices.Collect(maps.Keys(parts)))
	}
	return parts["control.tar.gz"], parts["data.tar.gz"]
}

// entry is a file of an archive.
type entry struct {
	mode  int64
	owner string
	text  string
}

// readTar returns the files of an archive by their names, which begin with a slash.
func readTar(t *testing.T, archive io.Reader) map[string]entry {
	t.Helper()
	files := map[string]entry{}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(h.Name, "."), "/")
		if h.Typeflag != tar.TypeDir {
			files[name] = entry{h.Mode, h.Uname + ":" + h.Gname, string(text)}
		}
	}
}

// A package of Debian has what it should, and says which file is the administrator's.
func TestWhatADebHas(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a deb is for linux")
	}
	control, data := readDeb(t, aPackage(t, linux.Deb, stamp.Version))
	if got := control["/conffiles"].text; got != linux.Configuration+"\n" {
		t.Errorf("conffiles %q", got)
	}
	for _, want := range []string{
		"Package: mimir\n", "Version: 1.2.3~rc.1-1\n", "Architecture: " + runtime.GOARCH + "\n", "Depends: passwd\n",
	} {
		if !strings.Contains(control["/control"].text, want) {
			t.Errorf("%q is missing in\n%s", want, control["/control"].text)
		}
	}
	for _, script := range []string{"/postinst", "/prerm", "/postrm"} {
		if e, there := control[script]; !there || e.mode != 0o755 || !strings.HasPrefix(e.text, "#!/bin/sh\n") {
			t.Errorf("%s: there %v, mode %o", script, there, e.mode)
		}
	}
	content := map[string]entry{}
	maps.Copy(content, data)
	holdContent(t, content, linux.Pages+"/copyright")
}

// holdContent holds the files of a package against what it should have.
func holdContent(t *testing.T, files map[string]entry, license string) {
	t.Helper()
	for name, mode := range installed {
		if e, there := files[name]; !there || e.mode&0o7777 != mode || e.owner != "root:root" {
			t.Errorf("%s: there %v, mode %o, owner %s, want %o", name, there, e.mode, e.owner, mode)
		}
		delete(files, name)
	}
	for name, e := range files {
		if e.mode&0o7777 != 0o644 || name != license && filepath.Dir(name) != linux.Pages {
			t.Errorf("%s, mode %o, is in the package", name, e.mode)
		}
	}
	for _, name := range []string{license, linux.Pages + "/operating.md"} {
		if _, there := files[name]; !there {
			t.Errorf("%s is missing", name)
		}
	}
}

// Nothing that a package runs starts a node, or starts one again.
func TestNothingThatIsInstalledStarts(t *testing.T) {
	scripts, err := filepath.Glob("linux/*/p*")
	if err != nil || len(scripts) != 6 {
		t.Fatalf("scripts %v, %v", scripts, err)
	}
	for _, script := range scripts {
		for line := range strings.Lines(string(read(t, script))) {
			words := strings.Fields(line)
			at := slices.Index(words, "systemctl")
			if at < 0 || words[0] == "echo" || words[0] == "#" {
				continue
			}
			if verb := words[at+1]; verb != "daemon-reload" && verb != "disable" {
				t.Errorf("%s: %s", script, line)
			}
		}
	}
}

// dpkg runs dpkg on a root of its own, scripts included, which it tells of that root.
func dpkg(t *testing.T, dir string, arguments ...string) string {
	t.Helper()
	all := append([]string{
		"--root=" + dir, "--force-not-root", "--force-script-chrootless", "--force-depends", "--force-architecture",
	}, arguments...)
	c := exec.CommandContext(t.Context(), "dpkg", all...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("dpkg %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

// debRoot is a root in which dpkg has installed nothing yet.
func debRoot(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"dpkg", "systemd-sysusers", "systemd-tmpfiles"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here: a deb is installed where there is one", tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("files of root and of a user of its own are made by root alone")
	}
	dir := root(t)
	directories(t, dir, "var/lib/dpkg/info", "var/lib/dpkg/updates", "etc")
	for _, f := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(dir, "var/lib/dpkg", f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// debFile writes a package of a version to a file.
func debFile(t *testing.T, version string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mimir.deb")
	if err := os.WriteFile(file, aPackage(t, linux.Deb, version), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// Installed by dpkg, a node starts once it was told who it is; an upgrade keeps what it was told, and a purge what it
// keeps.
func TestADebStartsANode(t *testing.T) {
	dir := debRoot(t)
	out := dpkg(t, dir, "--install", debFile(t, stamp.Version))
	if !strings.Contains(out, "set name and region in /etc/mimir/mimir.yaml") {
		t.Errorf("dpkg said\n%s", out)
	}
	p := inUnit(t, dir)
	at := addresses(t, 2)
	p.variables = []string{"MIMIR_LISTEN_CLIENT=" + at[0], "MIMIR_LISTEN_PEER=" + at[1]}
	if out, status := p.run(t); status != 2 || !strings.Contains(out, "name is missing") {
		t.Errorf("before it is configured a node ends with %d\n%s", status, out)
	}
	configure(t, filepath.Join(dir, linux.Configuration))
	check := *p
	check.arguments = append(slices.Clone(p.arguments), "--check")
	if out, status := check.run(t); status != 0 || !strings.Contains(out, "node us-1 of region us can start") {
		t.Errorf("--check: %d\n%s", status, out)
	}
	n := p.start(t, at[0])
	n.holds(t)
	out = dpkg(t, dir, "--install", debFile(t, "v1.2.4")) // while it runs
	if !strings.Contains(out, "systemctl restart mimir: one node at a time") {
		t.Errorf("dpkg said\n%s", out)
	}
	n.holds(t)
	n.stop()
	again := p.start(t, at[0])
	if got := again.get(t, "greeting"); got != "hello" {
		t.Errorf("after the upgrade greeting is %q", got)
	}
	again.stop()
	dpkg(t, dir, "--remove", "mimir")
	if _, err := os.Stat(filepath.Join(dir, linux.Configuration)); err != nil {
		t.Errorf("a removal took the configuration: %v", err)
	}
	out = dpkg(t, dir, "--purge", "mimir")
	if _, err := os.Stat(filepath.Join(dir, linux.Configuration)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a purge left the configuration: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, p.directory)); err != nil ||
		!strings.Contains(out, p.directory+" is left") {
		t.Errorf("a purge took what the node keeps: %v\n%s", err, out)
	}
}

// configure does what the sample tells an administrator to do.
func configure(t *testing.T, file string) {
	t.Helper()
	text := string(read(t, file))
	if text != string(server.Sample()) {
		t.Errorf("%s is not the sample", file)
	}
	named := strings.NewReplacer("#name:", "name:", "#region:", "region:").Replace(text)
	if err := os.WriteFile(file, []byte(named), 0o644); err != nil {
		t.Fatal(err)
	}
}

// inUnit returns how the unit of systemd that is installed in dir runs a node, as the user that was made for it.
func inUnit(t *testing.T, dir string) *process {
	t.Helper()
	unit := settingsOf(string(read(t, filepath.Join(dir, linux.Unit))))
	p := &process{
		root: dir, arguments: strings.Fields(unit["ExecStart"]), directory: "/var/lib/" + unit["StateDirectory"],
	}
	for line := range strings.Lines(string(read(t, filepath.Join(dir, "etc/passwd")))) {
		fields := strings.Split(line, ":")
		if len(fields) > 3 && fields[0] == unit["User"] {
			p.uid, _ = strconv.Atoi(fields[2])
			p.gid, _ = strconv.Atoi(fields[3])
		}
	}
	if p.uid == 0 {
		t.Fatalf("there is no user %q of its own", unit["User"])
	}
	for name, want := range map[string]struct {
		mode     os.FileMode
		uid, gid int
	}{
		"/etc/mimir/tls": {0o750, 0, p.gid}, p.directory: {0o700, p.uid, p.gid},
		"/var/log/" + unit["LogsDirectory"]: {0o700, p.uid, p.gid},
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		owner := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm() != want.mode || int(owner.Uid) != want.uid || int(owner.Gid) != want.gid {
			t.Errorf("%s: mode %o of %d:%d, want %+v", name, info.Mode().Perm(), owner.Uid, owner.Gid, want)
		}
	}
	return p
}

// settingsOf reads the settings of a unit, the last of each.
func settingsOf(unit string) map[string]string {
	settings := map[string]string{}
	for line := range strings.Lines(unit) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	return settings
}

// The unit is one that systemd takes, and leaves a node little of the machine.
func TestTheUnitIsHardened(t *testing.T) {
	text := string(read(t, "linux/system/mimir.service"))
	unit := settingsOf(text)
	for key, want := range map[string]string{
		"Type": "exec", "User": "mimir", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
		"StateDirectory": "mimir", "LogsDirectory": "mimir", "LimitNOFILE": "65536", "CapabilityBoundingSet": "",
		"RestartPreventExitStatus": "2 3", "MemoryDenyWriteExecute": "yes", "SystemCallFilter": "@system-service",
	} {
		if got, there := unit[key]; !there || got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here: it judges the unit where there is one")
	}
	dir := root(t)
	files := map[string]string{linux.Unit: text, linux.Program: "#!/bin/sh\n", "/bin/sh": "#!/bin/sh\n"}
	for _, target := range []string{"sysinit", "basic", "shutdown", "network-online", "multi-user"} {
		files[filepath.Join(filepath.Dir(linux.Unit), target+".target")] = "[Unit]\nDefaultDependencies=no\n"
	}
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--root="+dir, "mimir.service").CombinedOutput()
	if err != nil || strings.Contains(string(out), "mimir.service") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20",
		filepath.Join(dir, linux.Unit)).CombinedOutput()
	if err != nil { // it says what the node could do, from 0, nothing, to 10.0; the threshold is in tenths
		t.Errorf("%v\n%s", err, out)
	}
}
