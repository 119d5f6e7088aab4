// Command firstlight is the acceptance run of Mimir on this machine: two regions of three nodes, every one a real
// process, under real records and real faults. It prints a report, and ends with status 1 at the first thing that is
// not as promised.
//
//	go run ./e2e/firstlight
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/e2e"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "firstlight:", err)
		os.Exit(1)
	}
	fmt.Println("\neverything is as promised")
}

func run(ctx context.Context) (err error) {
	o := e2e.Options{Out: os.Stdout}
	input := flag.String("input", "", "file of stanzas to load (default: what apt-cache dumpavail prints)")
	limit := flag.Int("limit", 0, "load at most so many stanzas")
	dir := flag.String("data-dir", "", "directory for everything (default: a temporary one)")
	keep := flag.Bool("keep", false, "keep the directory; after a failure it is kept in any case")
	names := flag.String("phases", strings.Join(e2e.Phases(), ","), "phases to run")
	flag.StringVar(&o.Binary, "mimir", "", "binary to test (default: built from this tree)")
	flag.DurationVar(&o.Delay, "wan-delay", 40*time.Millisecond, "delay between the regions, one way")
	flag.DurationVar(&o.Cut, "cut", 10*time.Second, "for how long the link between the regions is cut during the load")
	flag.IntVar(&o.Writes, "writes", 5000, "acknowledged writes before and after each fault of the other phases")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("takes no argument, got %q", flag.Arg(0))
	}
	o.Phases = strings.Split(*names, ",")
	if o.Records, err = records(ctx, *input, *limit); err != nil {
		return err
	}
	if o.Dir, err = directory(*dir); err != nil {
		return err
	}
	defer func() {
		if err != nil || *keep || *dir != "" {
			fmt.Fprintln(os.Stderr, "everything is kept in", o.Dir)
		} else {
			os.RemoveAll(o.Dir)
		}
	}()
	if o.Binary == "" {
		o.Binary = filepath.Join(o.Dir, "mimir")
		if err := e2e.Build(ctx, o.Binary); err != nil {
			return err
		}
	}
	return e2e.Run(ctx, o)
}

func records(ctx context.Context, input string, limit int) ([]e2e.Record, error) {
	var text []byte
	var err error
	if input != "" {
		text, err = os.ReadFile(input)
	} else if text, err = exec.CommandContext(ctx, "apt-cache", "dumpavail").Output(); err != nil {
		err = fmt.Errorf("apt-cache dumpavail: %w; on a machine without it, give a file of such stanzas with -input",
			err)
	}
	if err != nil {
		return nil, err
	}
	all, err := e2e.ReadRecords(bytes.NewReader(text), limit)
	if err == nil && len(all) == 0 {
		err = errors.New("nothing to load: apt-cache dumpavail prints nothing before apt-get update has run")
		if input != "" {
			err = fmt.Errorf("%s has no stanza", input)
		}
	}
	return all, err
}

// directory makes an empty one.
func directory(path string) (string, error) {
	if path == "" {
		return os.MkdirTemp("", "firstlight-")
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", err
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) > 0 {
		return "", errors.Join(err, fmt.Errorf("%s is not empty", path))
	}
	return filepath.Abs(path)
}
