package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCommandLine(t *testing.T) {
	path := func(rooms ...string) string { return module + "/" + strings.Join(rooms, " "+module+"/") }
	all := func() ([]string, error) {
		return strings.Fields(path("bench", longest[0], "lint", "replication/internal/succession",
			"replication/internal/wal", "server")), nil
	}
	at := fmt.Sprintf("-p %d ", atOnce())
	left := planting + "|" + written + "|" + fleets
	plain := "test -vet=off " + at + "-timeout 60m -skip " + left
	race := "test -vet=off " + at + "-race -linked -timeout 60m -skip " + left
	const once = "|" + counted + " " // where the campaign follows
	named := "test -vet=off " + at + "-race -linked -timeout 60m "
	seeds := "test -vet=off -timeout 60m ./sim -v -run ^(TestCampaign|TestFailureTable)$ -sim.campaign " +
		campaignSeeds + " -sim.more " + moreSeeds + " -sim.within "
	first := path(longest[0], "replication/internal/wal", "server") + " "
	rest := path("bench", "lint", "replication/internal/succession")
	without := path("replication/internal/wal", "replication/internal/succession", "lint")
	for _, test := range []struct {
		line      string
		race      bool
		vet, test string // each run on a line
		sim       string
	}{
		{"", true, "", race + once + first + path("bench") + "\n" +
			plain + once + without, seeds},
		{"", false, "", plain + once + first + rest, seeds},
		{"-quick", true, "vet ./...", race + " " + path("server", "bench") + "\n" + plain + " " +
			path("replication/internal/succession", "lint"), ""},
		{"-require-race -v", true, "", race + once + first + path("bench") + " -v\n" +
			plain + once + without + " -v", seeds},
		{"-run=X", false, "", plain + " " + first + rest + " -run=X", ""},
		{"-run X ./kv ./lint", true, "vet ./kv ./lint", named + "./kv ./lint -run X", ""},
		{"./kv -args -quick", true, "vet ./kv", named + "./kv -args -quick", ""},
	} {
		t.Run(test.line, func(t *testing.T) {
			o, err := parse(strings.Fields(test.line))
			if err != nil {
				t.Fatal(err)
			}
			o.link = []string{"-linked"}
			packages, err := o.choose(all)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(o.vet(), " "); got != test.vet {
				t.Errorf("got %q, want %q", got, test.vet)
			}
			var runs []string
			for _, r := range o.runs(packages, test.race) {
				runs = append(runs, strings.Join(o.test(r), " "))
			}
			if got := strings.Join(runs, "\n"); got != test.test {
				t.Errorf("got %q, want %q", got, test.test)
			}
			for took, within := range map[time.Duration]string{10 * time.Minute: "3m0s", time.Hour: "0s"} {
				want := test.sim
				if want != "" {
					want += within
				}
				if got := strings.Join(o.campaign(took), " "); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
	if _, err := parse([]string{"--quick", "./kv"}); !errors.Is(err, errUsage) {
		t.Errorf("-quick with packages: %v", err)
	}
}

// What is tested without the race detector must have nothing for it to see.
func TestNothingRunsBesideAnythingInSinglePackages(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range single {
		files, _ := filepath.Glob(filepath.Join(root, filepath.FromSlash(room), "*.go"))
		if len(files) == 0 {
			t.Errorf("there is no package %s", room)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			if what := concurrent(file); what != "" {
				t.Errorf("%s uses %s: test its package with the race detector", name, what)
			}
		}
	}
}

// concurrent returns what in a file has to do with goroutines, "" if nothing has.
func concurrent(file *ast.File) (what string) {
	for _, i := range file.Imports {
		switch path := strings.Trim(i.Path.Value, `"`); path {
		case "sync", "sync/atomic", module + "/replication/clock/virtual", "golang.org/x/sync/errgroup":
			return path
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			what = "a go statement"
		case *ast.ChanType:
			what = "a channel"
		case *ast.SelectorExpr:
			if n.Sel.Name == "AfterFunc" || n.Sel.Name == "Parallel" || n.Sel.Name == "RunParallel" {
				what = n.Sel.Name
			}
		}
		return what == ""
	})
	return what
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
	for _, room := range slices.Concat(longest, long) {
		if !slices.Contains(all, module+"/"+room) {
			t.Errorf("there is no package %s", room)
		}
		if slices.Contains(longest, room) && !strings.Contains(string(readme), "`"+room+"`") {
			t.Errorf("README.md does not name %s", room)
		}
	}
}

// What a run of everything leaves out is run by make and by .ci/run: a pattern that finds nothing passes.
func TestWhatIsLeftOutIsRunElsewhere(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	text := func(parts ...string) string {
		p, err := os.ReadFile(filepath.Join(append([]string{root}, parts...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(p)
	}
	for _, left := range []struct{ of, room, file, test string }{
		{planting, "sim", "planted_test.go", "TestPlantedBugsAreCaught"},
		{planting, "replication/internal/succession", "planted_test.go", "TestPlantedMistakesAreCaught"},
		{written, "cmd/mimir", "runbooks_test.go", "TestTheRunbooksRun"},
		{written, "cmd/mimir", "blocks_test.go", "TestEveryBlockIsRun"},
		{written, "cmd/mimir", "firstday_test.go", "TestTheFirstDayAsWritten"},
		{written, "cmd/mimir", "demo_test.go", "TestTheDemoIsPlayed"},
		{planting, "replication/storagetest", "broken_test.go", "TestMistakesAreSeen"},
		{planting, "replication/storagetest", "broken_files_test.go", "TestMistakesOfFilesAreSeen"},
		{fleets, "e2e", "e2e_test.go", "TestFirstLight"},
		{fleets, "e2e", "levels_test.go", "TestFiveRegions"},
		{fleets, "e2e", "bootstrapped_test.go", "TestBootstrapUnderFaults"},
		{fleets, "e2e", "partial_test.go", "TestAPartialRegion"},
		{fleets, "e2e", "durable_test.go", "TestWritesWaitForTheRegionsThatWereAskedFor"},
		{fleets, "e2e", "past_test.go", "TestEverythingIsDeletedAndADelayedRegionTakesOver"},
	} {
		if !strings.Contains(text(left.room, left.file), "\nfunc "+left.test+"(t *testing.T)") ||
			!regexp.MustCompile(left.of).MatchString(left.test) {
			t.Errorf("%s has no %s that is left out", left.room, left.test)
		}
		for what, commands := range map[string]string{
			"Makefile": strings.ReplaceAll(text("Makefile"), "$$", "$"), ".ci/run": text(".ci", "run"),
		} {
			_, packages, found := strings.Cut(commands, "-run '"+left.of+"' ")
			line, _, _ := strings.Cut(packages, "\n")
			if !found || !slices.Contains(strings.Fields(line), "./"+left.room) {
				t.Errorf("%s does not run %s of %s", what, left.test, left.room)
			}
		}
	}
}

// Where there is no C compiler, the reason is one line, and whoever insists on the race detector gets it as an error.
func TestWithoutCompiler(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("CC", filepath.Join(t.TempDir(), "none"))
	if err := new(options).tryRaceDetector(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	var out strings.Builder
	err := run([]string{"-require-race"}, &out)
	if err == nil || !strings.Contains(err.Error(), "the race detector does not work here") {
		t.Errorf("got %v and %s", err, &out)
	}
}
