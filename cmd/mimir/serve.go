package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server"
)

func newServe(hurry <-chan struct{}) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run one node",
		Long: "Run one node until SIGTERM or SIGINT, which hands leadership over and stops it in good order; a\n" +
			"second one stops it at once. Each key of the configuration file is also an environment variable\n" +
			"(listen-client: MIMIR_LISTEN_CLIENT) and a flag.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			read := func() (*server.Config, error) { return server.Load(file, os.LookupEnv, c.Flags()) }
			config, err := read()
			if err != nil {
				return err
			}
			o := server.Options{
				Version: version(), LogTo: os.Stderr, Hurry: hurry, HungUp: hungUp(c.Context()), Reload: read,
			}
			return server.Run(c.Context(), config, o)
		},
	}
	c.Flags().StringVar(&file, "config", os.Getenv("MIMIR_CONFIG"), "configuration file, YAML")
	server.AddFlags(c.Flags())
	return c
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
