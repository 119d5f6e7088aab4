//go:build unix

package server

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func checked(t *testing.T, arguments ...string) (warnings, wrong []string) {
	t.Helper()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	_, warnings, faults := Check("", func(string) (string, bool) { return "", false }, flags)
	for _, err := range faults {
		if !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "\n") {
			t.Errorf("no ErrConfig of one line: %v", err)
		}
		wrong = append(wrong, err.Error())
	}
	return warnings, wrong
}

// Everything that is wrong is said at once, and nothing is changed.
func TestCheckSaysEverything(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "new")
	_, wrong := checked(t, "--name=a/b", "--data-dir="+dir, "--listen-client=nowhere",
		"--listen-peer="+taken.Addr().String(), "--listen-http=unixs:///run/x", "--max-txn-ops=0", "--auto-compaction-retention=soon", "--log-level=loud",
		"--client-tls-cert=/gone/c", "--client-tls-key=/gone/k", "--fleet-key-file=/gone/f", "--tls-min-version=1.0",
		"--encryption-key-file=/gone/e")
	for _, want := range []string{
		`name "a/b"`, "region is missing", `listen-client "nowhere"`, "the port is in use by another process",
		`listen-http "unixs:///run/x"`, "max-txn-ops 0", `"soon" is neither`, `log-level "loud"`,
		`tls-min-version "1.0"`, "fleet-key-file: open /gone/f", "encryption-key-file: open /gone/e",
	} {
		if !slices.ContainsFunc(wrong, func(text string) bool { return strings.Contains(text, want) }) {
			t.Errorf("no %q in %q", want, wrong)
		}
	}
	_, wrong = checked(t, "--name=a", "--region=r", "--data-dir="+dir, "--client-tls-cert=/gone/c",
		"--client-tls-key=/gone/k", "--listen-client=127.0.0.1:0", "--advertise-client=a:1",
		"--listen-peer=127.0.0.1:0", "--advertise-peer=a:2")
	if len(wrong) != 1 || !strings.Contains(wrong[0], "client-tls: ") {
		t.Errorf("files that are gone: %q", wrong)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory was made: %v", err)
	}
}

// A directory is fit that is nobody's, or this node's and not in use.
func TestCheckOfADirectory(t *testing.T) {
	c := testConfig(t, "solo")
	check := func(more ...string) []string {
		_, wrong := checked(t, append([]string{"--name=solo", "--region=solo-region", "--listen-client=127.0.0.1:0",
			"--listen-peer=127.0.0.1:0", "--advertise-client=a:1", "--advertise-peer=a:2",
			"--data-dir=" + c.Replication.DataDir}, more...)...)
		return wrong
	}
	if wrong := check(); len(wrong) > 0 {
		t.Errorf("an empty one: %q", wrong)
	}
	stop := runNode(t, c)
	eventually(t, "the node serves", func(context.Context) bool {
		_, err := getHTTP(c.ClientURL()+"/readyz", nil)
		return err == nil
	})
	if wrong := check(); len(wrong) != 1 || !strings.Contains(wrong[0], "another process") {
		t.Errorf("in use: %q", wrong)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if wrong := check(); len(wrong) > 0 {
		t.Errorf("its own: %q", wrong)
	}
	if wrong := check("--name=other"); len(wrong) != 1 || !strings.Contains(wrong[0], "belongs to node solo of") {
		t.Errorf("of another node: %q", wrong)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if wrong := check("--data-dir=" + file); len(wrong) != 1 || !strings.Contains(wrong[0], "no directory") {
		t.Errorf("a file: %q", wrong)
	}
}
