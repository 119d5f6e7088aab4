//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A node and a witness do not end with who reads their log, whether that is standard error or standard output.
func TestTheLogsReaderIsGone(t *testing.T) {
	serve := []string{"serve", "--name=a", "--region=r", "--listen-client=127.0.0.1:0",
		"--advertise-client=127.0.0.1:1", "--listen-peer=127.0.0.1:0", "--advertise-peer=127.0.0.1:2"}
	for name, test := range map[string]struct {
		arguments []string
		pipe      func(*exec.Cmd) (*bufio.Reader, func() error)
	}{
		"node, stderr": {serve, stderrOf}, "node, stdout": {append(serve, "--log-outputs=stdout"), stdoutOf},
		"witness": {[]string{"witness", "--name=w", "--listen=127.0.0.1:0"}, stderrOf},
	} {
		t.Run(name, func(t *testing.T) {
			c := exec.Command(os.Args[0], append(test.arguments, "--data-dir="+filepath.Join(t.TempDir(), "data"))...)
			c.Env = append(os.Environ(), "RUN_AS_MIMIR=1")
			log, leave := test.pipe(c)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			late := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
			defer late.Stop()
			for line := ""; !strings.Contains(line, "msg=serving") && !strings.Contains(line, "msg=witness"); {
				var err error
				if line, err = log.ReadString('\n'); err != nil {
					c.Wait()
					t.Fatal(err)
				}
			}
			if err := leave(); err != nil {
				t.Error(err)
			}
			if err := c.Process.Signal(syscall.SIGTERM); err != nil { // of which it tells the log
				t.Error(err)
			}
			if err := c.Wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func stderrOf(c *exec.Cmd) (*bufio.Reader, func() error) {
	pipe, _ := c.StderrPipe()
	return bufio.NewReader(pipe), pipe.Close
}

func stdoutOf(c *exec.Cmd) (*bufio.Reader, func() error) {
	pipe, _ := c.StdoutPipe()
	return bufio.NewReader(pipe), pipe.Close
}
