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
		"--listen-peer="+taken.Addr().String(), "--listen-http=unixs:///run/x",
		"--max-txn-ops=0", "--auto-compaction-retention=soon", "--log-level=loud",
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

// The audit log is looked at as the start does: it appends to what is there, and makes no directory.
func TestCheckOfAnAuditLog(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "shut", "audit.log")
	if err := os.Mkdir(filepath.Dir(there), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(there, []byte("a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(there), 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(there), 0o700)
	for path, want := range map[string]string{
		there:                           "",
		filepath.Join(dir, "a.log"):     "",
		filepath.Join(dir, "gone", "a"): "no such file or directory",
		dir:                             "is a directory",
		filepath.Join(there, "a.log"):   "not a directory",
	} {
		_, wrong := fitting(t, "--audit-log="+path)
		said := strings.Join(wrong, "; ")
		if want == "" && said != "" || !strings.Contains(said, want) ||
			want != "" && (len(wrong) != 1 || !strings.Contains(said, "audit-log: ")) {
			t.Errorf("%s: %q, want %q", path, wrong, want)
		}
	}
	left, err := os.ReadDir(dir)
	if text, _ := os.ReadFile(there); err != nil || len(left) != 1 || string(text) != "a line\n" {
		t.Errorf("something was changed: %q, %v, %v", text, left, err)
	}
}

// A socket that a process left is the start's to take away.
func TestCheckLeavesASocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "m") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	listen := "--listen-http=unix://" + path
	if _, wrong := fitting(t, listen); len(wrong) != 1 || !strings.Contains(wrong[0], "in use by another process") {
		t.Errorf("in use: %q", wrong)
	}
	l.Close()
	if _, wrong := fitting(t, listen); len(wrong) > 0 {
		t.Errorf("left: %q", wrong)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Type() != os.ModeSocket {
		t.Errorf("the socket was changed: %v, %v", left, err)
	}
}

// A disk that is full stops the start where there is no ballast to give up.
func TestCheckOfAFullDisk(t *testing.T) {
	const full = "/proc/self/task" // nothing is free there
	if _, free, err := measure(full); err != nil || free > 0 {
		t.Skip("no such disk here")
	}
	_, wrong := fitting(t, "--data-dir="+full, "--disk-reserve-bytes=1073741824")
	if !slices.ContainsFunc(wrong, func(s string) bool { return strings.Contains(s, "the ballast is used up") }) {
		t.Errorf("%q", wrong)
	}
}

// fitting checks a node that would start, but for what more says.
func fitting(t *testing.T, more ...string) (warnings, wrong []string) {
	t.Helper()
	return checked(t, append([]string{"--name=solo", "--region=solo-region", "--listen-client=127.0.0.1:0",
		"--listen-peer=127.0.0.1:0", "--advertise-client=a:1", "--advertise-peer=a:2",
		"--data-dir=" + filepath.Join(t.TempDir(), "data")}, more...)...)
}
