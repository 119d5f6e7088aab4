//go:build unix

package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var quickstart = flag.Bool("quickstart", false, "TestTheQuickStart does what the page says; default: it is skipped")

// TestTheQuickStart does what docs/quickstart.md says, command by command as it stands there, but for the addresses.
func TestTheQuickStart(t *testing.T) {
	if !*quickstart {
		t.Skip("with -quickstart: it takes about half a minute")
	}
	text, err := os.ReadFile("../../docs/quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, us := "", ""
	for _, line := range shellLines(string(text)) {
		words := wordsOf(line)
		if len(words) < 2 || words[0] != "mimir" {
			continue // go, export and etcdctl
		}
		words = words[1:]
		switch {
		case words[0] == "demo": // TestTheDemoIsPlayed
		case words[0] == "dev" && words[1] != "break" && words[1] != "heal":
			f, _, _ := startDev(t, slices.DeleteFunc(words[1:], func(w string) bool { return w == "--console" })...)
			us = f.Regions[0].Nodes[0].Client
			dir = filepath.Dir(filepath.Dir(f.Regions[0].Nodes[0].DataDir))
			t.Setenv("MIMIR_ENDPOINTS", us+","+f.Regions[1].Nodes[0].Client)
		case words[0] == "dev":
			done(t, append(words, "--data-dir", dir))
			if words[1] == "heal" { // who types the next command takes longer
				eventually(t, "eu follows", func() bool {
					s := status(t, us)
					eu := s.region("eu")
					return eu.Role == "secondary" && eu.Epoch == s.Epoch && eu.Lag.Seconds >= 0
				})
			}
		case slices.Contains(words, "--watch"):
			watched(t, words, "primary us")
		default:
			done(t, words)
		}
	}
}

// done runs a command that has to end well.
func done(t *testing.T, words []string) {
	t.Helper()
	status, out, errs := mimir(t, words...)
	t.Logf("mimir %s\n%s%s", strings.Join(words, " "), out, errs)
	if status != exitDone {
		t.Fatalf("it ended with %d", status)
	}
}

// watched runs a command that goes on until it has shown what is wanted.
func watched(t *testing.T, words []string, want string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, ended := &output{}, make(chan int, 1)
	go func() { ended <- run(ctx, nil, words, out, out) }()
	eventually(t, want, func() bool { return strings.Contains(out.String(), want) })
	cancel()
	if status := <-ended; status != exitDone {
		t.Errorf("%d %s", status, out)
	}
}
