//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ran says which test runs the blocks of sh that begin so on a page, as they stand there or with other addresses; of a
// page alone: all of its blocks. It is the name of a test of this tree.
var ran = map[string]string{
	"README.md: go run ./cmd/mimir demo": "TestTheDemoIsPlayed",
	"README.md: go run ./cmd/mimir dev":  "TestDevBreaks",

	"quickstart.md": "TestTheQuickStart",
	"runbooks.md":   "TestTheRunbooksRun",
	"failover.md":   "TestRunbooks",
	"commands.md":   "TestEachCommandHasAnExample", // that they are taken; each has its own tests

	"auth.md: openssl genpkey":  "TestJWTsAsWritten",
	"auth.md: etcdctl user add": "TestEtcdctlAsWritten",
	"auth.md: export ETCDCTL":   "TestEtcdctlAsWritten",
	"auth.md: curl -s":          "TestEtcdctlAsWritten",
	"auth.md: unset ETCDCTL":    "TestEtcdctlAsWritten",

	"certificates.md: mimir cert init":      "TestTheFleetFileOfTheDocs",
	"certificates.md: mimir status --check": "TestAFleetOfOneFile",
	"certificates.md":                       "TestCertificatesAsWritten",

	"kubernetes.md: kube-apiserver --etcd": "TestFlagsAreDocumented",
	"migration.md":                         "TestRecipe",
	"tracing.md":                           "TestTheTracesOfThePage",
	"packages.md: helm install":            "TestHelmInstallsTheChart", // helm alone: kubectl wants pods that run

	"kubernetes.md: mimir serve --config":     "TestTheFirstDayAsWritten",
	"operating.md: CGO_ENABLED=0 go build -o": "TestTheFirstDayAsWritten",
	"operating.md: mimir fleet init":          "TestTheFirstDayAsWritten",
	"operating.md: mimir region add":          "TestTheFirstDayAsWritten",
	"operating.md: export AWS_ACCESS_KEY_ID":  "TestTheFirstDayAsWritten",
	"operating.md: mimir snapshot list 's3":   "TestTheFirstDayAsWritten",

	"operating.md: CGO_ENABLED=0 go build -ldflags":              "TestVersionOfAPackage",
	"operating.md: mimir failover --to us --force":               "TestRunbooks",
	"operating.md: mimir failover --to eu":                       "TestRunbooks",
	"operating.md: mimir switchover":                             "TestRunbooks",
	"operating.md: mimir tail":                                   "TestRunbooks",
	"operating.md: jq -r":                                        "TestRunbooks",
	"operating.md: mimir cert init":                              "TestTheFleetFileOfTheDocs",
	"operating.md: mimir serve --check":                          "TestAFleetOfOneFile",
	"operating.md: export MIMIR_ENDPOINTS":                       "TestAFleetOfOneFile",
	"operating.md: mimir node rebuild us-2":                      "TestTheRunbooksRun",
	"operating.md: sudo -u mimir mimir snapshot restore backup-": "TestSnapshotByHand",
	"operating.md: mimir snapshot save monday.db":                "TestPointInTimeByHand",
	"operating.md: mimir archive":                                "TestPointInTimeByHand",
	"operating.md: sudo -u mimir mimir snapshot restore monday":  "TestPointInTimeByHand",
	"operating.md: mimir keys list":                              "TestFleetByHand",
	"operating.md: etcdctl --endpoints OLD:2379":                 "TestRecipe",
	"operating.md: mimir export etcd.db":                         "TestRecipe",
	"operating.md: mimir mirror":                                 "TestMirrorSaysWhatIsThere",
	"operating.md: mimir feed":                                   "TestFeedEndsAndGoesOn",
	"operating.md: etcdctl":                                      "TestEtcdctlAsWritten",
	"operating.md: mimir partial":                                "TestAPartialRegion",
	"operating.md: umask 077":                                    "TestAMachineAsWritten",
	"operating.md: systemctl stop mimir":                         "TestAMachineAsWritten",

	"packages.md: dnf install":             "TestAMachineAsWritten",
	"packages.md: apt install":             "TestAMachineAsWritten",
	"packages.md: runuser -u mimir":        "TestAMachineAsWritten",
	"packages.md: install -d -m 0700":      "TestAMachineAsWritten",
	"packages.md: skopeo copy --all":       "TestTheImageInPodman",
	"packages.md: skopeo copy oci-archive": "TestTheImageInPodman",
}

// runHere are blocks that this test runs, in this order, with what they have to say.
var runHere = []struct{ block, says string }{
	{"operating.md: openssl req -x509", ""},
	{"operating.md: (umask 077; echo", ""},
	{"operating.md: curl -s \"http", `mimir_role{role="primary"} 1`},
	{"operating.md: mimir verify", "hold the same at revision"},
	{"operating.md: mimir events --since 24h", "us is primary"},
	{"operating.md: mimir region list", "ap"},
	{"operating.md: mimir region move ap", ""},
	{"operating.md: mimir region bootstrap eu", "eu"},
	{"operating.md: mimir snapshot save backup-", "keys"},
	{"operating.md: mimir status", "primary us"},
	{"operating.md: until curl -sf", ""},
	{"operating.md: mimir region remove ap", "ap"},
}

// blocksOf returns the blocks of sh of a page.
func blocksOf(page string) (list []string) {
	var block *strings.Builder
	inside := false
	for line := range strings.Lines(page) {
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "```"):
			if block != nil {
				list = append(list, block.String())
			}
			block = nil
			if inside = !inside; inside && trimmed == "```sh" {
				block = &strings.Builder{}
			}
		case block != nil:
			block.WriteString(line)
		}
	}
	return list
}

// longest returns the longest of some beginnings that a text has, "" if none.
func longest(text string, beginnings []string) (found string) {
	for _, b := range beginnings {
		if strings.HasPrefix(text, b) && len(b) > len(found) {
			found = b
		}
	}
	return found
}

// TestEveryBlockIsRun: each block of sh of the pages is run, here, by another test that is there, or by the one for
// what takes long. The blocks of runHere are run, against three regions of one node.
func TestEveryBlockIsRun(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]bool{} // every beginning that there is, and whether a page has it
	for key := range ran {
		places[key] = false
	}
	for _, l := range longBlocks {
		places[l.block] = false
	}
	for _, r := range runHere {
		places[r.block] = false
	}
	here := map[string][]string{}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocksOf(string(text)) {
			name := filepath.Base(page) + ": " + strings.TrimSpace(block)
			var beginnings []string
			for key := range places {
				beginnings = append(beginnings, key)
			}
			key := longest(name, beginnings)
			if key == "" {
				t.Errorf("nobody runs:\n%s", name)
				continue
			}
			places[key] = true
			if slices.ContainsFunc(runHere, func(r struct{ block, says string }) bool { return r.block == key }) {
				here[key] = append(here[key], block)
			}
		}
	}
	for key, there := range places {
		if !there {
			t.Errorf("no page has a block %q", key)
		}
	}
	known := testsOfTheTree(t)
	for key, name := range ran {
		if !known[name] {
			t.Errorf("%s is run by %s, which is not there", key, name)
		}
	}
	if !t.Failed() {
		runThem(t, here)
	}
}

var aTest = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsOfTheTree are the names of all tests.
func testsOfTheTree(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range aTest.FindAllStringSubmatch(string(text), -1) {
			known[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}

// runThem runs blocks as they stand there but for addresses and places, each as a script that ends at what fails.
func runThem(t *testing.T, blocks map[string][]string) {
	o := &onCall{t: t, dir: t.TempDir()}
	o.fleet, _, _ = startDev(t, "--regions", "us,eu,ap", "--nodes", "1")
	us, eu := o.fleet.Regions[0].Nodes[0], o.fleet.Regions[1].Nodes[0]
	o.isAtHand()
	put(t, us.Client, "first")
	replaced := strings.NewReplacer("10.1.0.1:2379", us.Client, "10.1.0.2:2379", us.Client, "10.2.0.1:2379", eu.Client,
		"10.1.0.1:2381", us.HTTP, "10.1.0.2:2381", us.HTTP, "/etc/mimir", o.dir)
	for _, r := range runHere {
		for _, block := range blocks[r.block] {
			status, said := o.shell("set -e\n" + replaced.Replace(block))
			t.Logf("%s%d\n%s", block, status, said)
			if status != exitDone || !strings.Contains(said, r.says) {
				t.Errorf("it ended with %d, want %q:\n%s\n%s", status, r.says, block, said)
			}
		}
	}
}
