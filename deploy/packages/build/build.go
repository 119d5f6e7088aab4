// Package build makes the binaries of mimir.
//
// It promises that the same source, stamp, target and version of Go give the same bytes, whatever the directory, the
// user, the time and the environment are; and that what a binary says of itself is what the stamp says.
package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Module is what a source has to be.
const Module = "github.com/mimir-kv/mimir"

// Stamp is what is built, and what all that is made of it says.
type Stamp struct {
	Version string    // semantic, v1.2.3 or v1.2.3-rc.1
	Commit  string    // of the source, with "+changes" where the source is not what was committed
	Date    time.Time // of the commit, in UTC and whole seconds: nothing that is made is younger
}

// Number is the version without its v, as packages have it.
func (s Stamp) Number() string { return strings.TrimPrefix(s.Version, "v") }

// Target is a system to build for, by Go's names.
type Target struct{ OS, Arch string }

func (t Target) String() string { return t.OS + "/" + t.Arch }

// Program is the name of the binary.
func (t Target) Program() string {
	if t.OS == "windows" {
		return "mimir.exe"
	}
	return "mimir"
}

// Targets are those of a release.
var Targets = []Target{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

var aVersion = regexp.MustCompile(`^v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z]+(\.[0-9A-Za-z]+)*)?$`)

// Read returns the stamp of a source that is a work tree of git. A version that is empty is made of the commit: it is
// lower than that of any release.
func Read(ctx context.Context, source, version string) (Stamp, error) {
	s := Stamp{Version: version}
	commit, err := output(ctx, source, "git", "rev-parse", "HEAD")
	if err != nil {
		return s, fmt.Errorf("a release is of a commit, and is made in a clone: %w", err)
	}
	// The source may lie in the work tree of something else, which has commits of its own.
	below, err := output(ctx, source, "git", "rev-parse", "--show-prefix")
	if err != nil {
		return s, err
	}
	if below != "" {
		return s, fmt.Errorf("%s is the folder %s of another work tree, whose commits say nothing of it: make the "+
			"release in a clone", source, below)
	}
	at, err := output(ctx, source, "git", "show", "-s", "--format=%cI", "HEAD")
	if err != nil {
		return s, err
	}
	if s.Date, err = time.Parse(time.RFC3339, at); err != nil {
		return s, fmt.Errorf("date of the commit: %w", err)
	}
	s.Date = s.Date.UTC()
	changes, err := output(ctx, source, "git", "status", "--porcelain", "--untracked-files=normal")
	if err != nil {
		return s, err
	}
	if s.Commit = commit; changes != "" {
		s.Commit += "+changes"
	}
	if s.Version == "" {
		s.Version = fmt.Sprintf("v0.0.0-%s.g%.12s", s.Date.Format("20060102150405"), commit)
	}
	return s, s.Valid()
}

// Valid says what is wrong with a stamp.
func (s Stamp) Valid() error {
	switch {
	case !aVersion.MatchString(s.Version):
		return fmt.Errorf("version %q is none like v1.2.3 or v1.2.3-rc.1", s.Version)
	case s.Commit == "":
		return errors.New("the stamp has no commit")
	case s.Date.IsZero():
		return errors.New("the stamp has no date")
	}
	return nil
}

// Binary builds mimir from a source into the file to.
func Binary(ctx context.Context, source string, s Stamp, t Target, to string) error {
	if err := s.Valid(); err != nil {
		return err
	}
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	says := fmt.Sprintf("-s -w -buildid= -X main.release=%s -X main.commit=%s -X main.date=%s", s.Version, s.Commit,
		s.Date.Format(time.RFC3339))
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", says,
		"-o", to, "./cmd/mimir")
	c.Dir = source
	if c.Env, err = environment(ctx, source, t); err != nil {
		return err
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build mimir for %s: %w\n%s", t, err, out)
	}
	return nil
}

// kept are settings of Go that say where a build finds things, and nothing of what it makes.
var kept = []string{"GOAUTH", "GOCACHE", "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOPROXY",
	"GOSUMDB", "GOTOOLCHAIN", "GOVCS"}

// environment is this process's, with all that would change what is built set to what a release has: by variables, and
// by what go env -w wrote, which counts where a variable is empty.
func environment(ctx context.Context, source string, t Target) ([]string, error) {
	all := os.Environ()
	values, err := output(ctx, source, "go", append([]string{"env", "-json"}, kept...)...)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	if err := json.Unmarshal([]byte(values), &found); err != nil {
		return nil, fmt.Errorf("read what go env says: %w", err)
	}
	for name, value := range found {
		all = append(all, name+"="+value)
	}
	return append(all, "GOENV=off", "GOOS="+t.OS, "GOARCH="+t.Arch, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off",
		"GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off", "GODEBUG="), nil
}

// output runs a command in dir and returns what it prints.
func output(ctx context.Context, dir, name string, arguments ...string) (string, error) {
	c := exec.CommandContext(ctx, name, arguments...)
	c.Dir = dir
	out, err := c.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, failed.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(arguments, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
