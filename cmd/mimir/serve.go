package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/plain"
)

func newServe(hurry <-chan struct{}) *cobra.Command {
	var file, fleet string
	var check bool
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run one node",
		Long: "Run one node until SIGTERM or SIGINT, which hands leadership over and stops it in good order; a\n" +
			"second one stops it at once. SIGHUP has it read its settings anew, and make hold what can change.\n" +
			"Each key of the configuration file is also an environment variable (listen-client:\n" +
			"MIMIR_LISTEN_CLIENT) and a flag. The flags of etcd are understood too, see docs/etcd-settings.md.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if check {
				return checkSettings(c, file, fleet)
			}
			if fleet != "" {
				return fmt.Errorf("%w: --fleet-file goes with --check", errUsage)
			}
			read := func() (*server.Config, error) { return server.Load(file, os.LookupEnv, c.Flags()) }
			config, err := read()
			if err != nil {
				return err
			}
			limitMemory(config.MemoryLimit())
			signal.Ignore(syscall.SIGPIPE) // a node does not end with who reads its log
			o := server.Options{
				Version: version(), LogTo: os.Stderr, Hurry: hurry, HungUp: hungUp(c.Context()), Reload: read,
				Look: lookForConsole, Replays: nodeReplays{}, Strange: server.StrangeVariables(os.Environ()),
				Serving: func() error { return tellSystemd(os.Getenv("NOTIFY_SOCKET")) },
			}
			return server.Run(c.Context(), config, o)
		},
	}
	c.Flags().StringVar(&file, "config", os.Getenv("MIMIR_CONFIG"), "configuration file, YAML")
	c.Flags().BoolVar(&check, "check", false, "start nothing; say everything for which the node would not start here "+
		"and now: settings, files, addresses, data directory")
	c.Flags().StringVar(&fleet, "fleet-file", "", "with --check: the fleet file that the settings have to agree with; "+
		"see mimir config generate")
	server.AddFlags(c.Flags())
	return c
}

// limitMemory has the runtime keep to a limit in bytes, if it is more than 0 and the environment says nothing of one.
func limitMemory(limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" && limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

// checkSettings tells everything that is wrong, a line each, and ends as a start would.
func checkSettings(c *cobra.Command, file, fleet string) error {
	config, warnings, wrong := server.Check(file, os.LookupEnv, c.Flags())
	warnings = append(warnings, server.StrangeVariables(os.Environ())...)
	if fleet != "" {
		notes, more := checkAgainst(c, file, fleet, config.Replication.NodeID)
		warnings, wrong = append(warnings, notes...), append(wrong, more...)
	}
	for _, text := range warnings {
		fmt.Fprintln(c.OutOrStdout(), "warning:", text)
	}
	for _, err := range wrong {
		fmt.Fprintln(c.ErrOrStderr(), "mimir:", plain.Text(err))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w: %d things are wrong", server.ErrConfig, len(wrong))
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "node %s of region %s can start\n", config.Replication.NodeID,
		config.Replication.RegionID)
	return err
}

// hungUp returns a channel that tells of every SIGHUP until ctx ends.
func hungUp(ctx context.Context) <-chan struct{} {
	signals, told := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			select {
			case <-ctx.Done():
				return
			case told <- struct{}{}:
			}
		}
	}()
	return told
}
