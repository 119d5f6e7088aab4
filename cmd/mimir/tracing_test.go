//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// times are those of spans, which are others each time.
var times = regexp.MustCompile(`(?m) [0-9.]+(ns|µs|ms|s)$`)

// TestTheTracesOfThePage does what docs/tracing.md says to look at a trace, as it stands there but for addresses and
// places, and wants the trace that the page shows.
func TestTheTracesOfThePage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	text, err := os.ReadFile("../../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.NewReplacer("127.0.0.1:4317", anAddress(t), "127.0.0.1:2379", anAddress(t),
		"127.0.0.1:2380", anAddress(t), "127.0.0.1:3379", anAddress(t), "127.0.0.1:3380", anAddress(t),
		"traced/", t.TempDir()+"/").Replace(string(text))
	_, shown, _ := strings.Cut(page, "\ntrace ")
	_, shown, _ = strings.Cut(shown, "\n")
	shown, _, _ = strings.Cut(shown, "```")
	if !strings.Contains(shown, "us/us-1 mimir.commit") {
		t.Fatalf("the page shows %q", shown)
	}
	collected := &output{}
	for _, line := range shellLines(page) {
		words := wordsOf(line)
		switch {
		case len(words) == 0:
		case words[0] == "go":
			collect(t, words, collected)
		case words[0] == "mimir":
			ctx, cancel := context.WithCancel(t.Context())
			said, ended := &output{}, make(chan int, 1)
			go func() { ended <- run(ctx, nil, words[1:], said, said) }()
			t.Cleanup(func() {
				cancel()
				if status := <-ended; status != exitDone || t.Failed() {
					t.Errorf("%s: %d\n%s", line, status, said)
				}
			})
		default:
			eventually(t, "the page's put is answered", func() bool {
				answer, _ := exec.Command("sh", "-c", line).Output() //nolint:errcheck // the answer says it
				return strings.Contains(string(answer), `"revision"`)
			})
		}
	}
	eventually(t, "the collector prints what the page shows", func() bool {
		return strings.Contains(times.ReplaceAllString(collected.String(), ""), times.ReplaceAllString(shown, ""))
	})
}

// collect starts the collector until the test ends, and returns when it listens.
func collect(t *testing.T, words []string, to *output) {
	t.Helper()
	c := exec.Command(words[0], words[1:]...)
	c.Dir, c.Stdout, c.Stderr = "../..", to, to
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what go has run is another process
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGINT) //nolint:errcheck // it may have ended
		c.Wait()                                     //nolint:errcheck // by a signal
		if t.Failed() {
			t.Logf("the collector: %s", to)
		}
	})
	eventually(t, "the collector listens", func() bool { return strings.Contains(to.String(), "taking spans") })
}
