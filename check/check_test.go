package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	all := func() ([]string, error) {
		return []string{module + "/bench", module + "/" + longest[0], module + "/server"}, nil
	}
	plain := "test -vet=off "
	seeds := "test -vet=off -timeout 15m ./sim -v -run ^(TestCampaign|TestFailureTable)$ -sim.campaign " + campaignSeeds
	first := "./" + strings.Join(longest, " ./") + " "
	for _, test := range []struct {
		line           string
		race           bool
		vet, test, sim string
	}{
		{"", true, "vet ./...", "test -vet=off -race -timeout 15m " + first + "./...", seeds},
		{"", false, "vet ./...", "test -vet=off -timeout 15m " + first + "./...", seeds},
		{"-quick", true, "vet ./...", plain + "-race -timeout 15m " + module + "/bench " + module + "/server", ""},
		{"-require-race -v", true, "vet ./...", "test -vet=off -race -timeout 15m " + first + "./... -v", seeds},
		{"-run=X", false, "vet ./...", "test -vet=off -timeout 15m " + first + "./... -run=X", ""},
		{"-run X ./kv ./server", true, "vet ./kv ./server", plain + "-race -timeout 15m ./kv ./server -run X", ""},
		{"./kv -args -quick", true, "vet ./kv", "test -vet=off -race -timeout 15m ./kv -args -quick", ""},
	} {
		t.Run(test.line, func(t *testing.T) {
			o, err := parse(strings.Fields(test.line))
			if err != nil {
				t.Fatal(err)
			}
			packages, err := o.choose(all)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(o.vet(), " "); got != test.vet {
				t.Errorf("got %q, want %q", got, test.vet)
			}
			if got := strings.Join(o.test(packages, test.race), " "); got != test.test {
				t.Errorf("got %q, want %q", got, test.test)
			}
			if got := strings.Join(o.campaign(), " "); got != test.sim {
				t.Errorf("got %q, want %q", got, test.sim)
			}
		})
	}
	if _, err := parse([]string{"--quick", "./kv"}); !errors.Is(err, errUsage) {
		t.Errorf("-quick with packages: %v", err)
	}
}

func TestLongestPackagesExist(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	all, err := list(root)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range longest {
		if !slices.Contains(all, module+"/"+room) {
			t.Errorf("there is no package %s", room)
		}
		if !strings.Contains(string(readme), "`"+room+"`") {
			t.Errorf("README.md does not name %s", room)
		}
	}
}

// Where there is no C compiler, the reason is one line, and whoever insists on the race detector gets it as an error.
func TestWithoutCompiler(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("CC", filepath.Join(t.TempDir(), "none"))
	if err := tryRaceDetector(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	var out strings.Builder
	err := run([]string{"-require-race"}, &out)
	if err == nil || !strings.Contains(err.Error(), "the race detector does not work here") {
		t.Errorf("got %v and %s", err, &out)
	}
}
