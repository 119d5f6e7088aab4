package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAStampThatPackagesCannotSayIsRefused(t *testing.T) {
	good := Stamp{"v1.2.3", "0123", time.Unix(1, 0)}
	for _, version := range []string{"v1.2.3", "v0.0.0-20261127220000.g0123456789ab", "v10.0.0-rc.1"} {
		s := good
		if s.Version = version; s.Valid() != nil {
			t.Errorf("%s: %v", version, s.Valid())
		}
	}
	for _, version := range []string{"", "1.2.3", "v1.2", "v01.2.3", "v1.2.3+dirty", "v1.2.3 -X main.x=y",
		"v1.2.3-a-b"} {
		s := good
		if s.Version = version; s.Valid() == nil {
			t.Errorf("%q is taken", version)
		}
	}
	for _, s := range []Stamp{{good.Version, "", good.Date}, {good.Version, good.Commit, time.Time{}}} {
		if s.Valid() == nil {
			t.Errorf("%v is taken", s)
		}
	}
}

// The stamp of this repository, where it is one.
func TestAStampIsReadFromTheRepository(t *testing.T) {
	s, err := Read(t.Context(), "../../..", "")
	if err != nil {
		t.Skipf("no repository: %v", err)
	}
	if s.Date.Location() != time.UTC || len(s.Commit) < 40 || s.Version[:7] != "v0.0.0-" {
		t.Errorf("%+v", s)
	}
}

// repository is an empty work tree with a commit, and what runs git in it.
func repository(t *testing.T) (dir string, git func(arguments ...string)) {
	t.Helper()
	dir = t.TempDir()
	git = func(arguments ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.net"},
			arguments...)...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Skipf("no git: %v\n%s", err, out)
		}
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "first")
	return dir, git
}

// A source that lies in the work tree of something else is of none of its commits.
func TestASourceWithinAnotherWorkTreeHasNoStamp(t *testing.T) {
	dir, _ := repository(t)
	inner := filepath.Join(dir, "mimir-1.2.3")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if s, err := Read(t.Context(), inner, "v1.2.3"); err == nil || !strings.Contains(err.Error(), "another work tree") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Read(t.Context(), dir, "v1.2.3"); err != nil {
		t.Error(err)
	}
}

// A file that nobody committed is a change, also where git was told not to show it.
func TestANewFileIsAChange(t *testing.T) {
	dir, git := repository(t)
	git("config", "status.showUntrackedFiles", "no")
	if err := os.WriteFile(filepath.Join(dir, "new.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Read(t.Context(), dir, "v1.2.3"); err != nil || !strings.HasSuffix(s.Commit, "+changes") {
		t.Errorf("%+v, %v", s, err)
	}
}

// What somebody set for all builds on his machine changes nothing of a release, but for where modules come from.
func TestSettingsOfGoChangeNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	text := "GOFLAGS=-tags=other\nGOEXPERIMENT=noregabiargs\nGOAMD64=v3\nGOPROXY=https://proxy.invalid\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", file)
	for _, name := range []string{"GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOPROXY", "GOWORK"} {
		t.Setenv(name, "")
	}
	t.Setenv("GOFLAGS", "-tags=another")
	all, err := environment(t.Context(), ".", Target{"linux", "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "go", "env", "GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOPROXY", "GOWORK")
	c.Env = all
	out, err := c.Output()
	if want := "\n\nv1\nhttps://proxy.invalid\noff\n"; err != nil || string(out) != want {
		t.Errorf("%q, want %q, %v", out, want, err)
	}
}

// Git writes the files of this repository as they were committed, with whatever ends of lines a system has.
func TestFilesAreWhatWasCommitted(t *testing.T) {
	dir, git := repository(t)
	rules, err := os.ReadFile("../../../.gitattributes")
	if err != nil {
		t.Fatal(err)
	}
	const page = "one\ntwo\n"
	for name, text := range map[string]string{".gitattributes": string(rules), "page.md": page} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("add", "-A")
	git("commit", "-q", "-m", "second")
	git("rm", "-q", "--cached", "page.md")
	if err := os.Remove(filepath.Join(dir, "page.md")); err != nil {
		t.Fatal(err)
	}
	git("-c", "core.autocrlf=true", "reset", "-q", "--hard")
	if text, err := os.ReadFile(filepath.Join(dir, "page.md")); err != nil || string(text) != page {
		t.Errorf("%q, %v", text, err)
	}
}
