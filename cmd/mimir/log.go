package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server/admin"
)

func newLog(n *connection) *cobra.Command {
	var to admin.Log
	c := &cobra.Command{
		Use:   "log [--level LEVEL] [--format FORMAT]",
		Short: "Show how nodes write their logs, or set it until their restart",
		Long: "Show at which level and in which format each node of --endpoints writes its log, or set it. It holds\n" +
			"until the node restarts, or reads its settings anew (SIGHUP).",
		Args: noArguments,
		RunE: n.asking(func(c *cobra.Command, client *admin.Client, _ []string) error {
			var failed []error
			for _, endpoint := range n.endpoints {
				one := client.At(endpoint)
				now, err := &admin.Log{}, error(nil)
				if to == (admin.Log{}) {
					now, err = one.Log(c.Context())
				} else {
					now, err = one.SetLog(c.Context(), to)
				}
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", endpoint, err))
					continue
				}
				told := struct {
					Endpoint string `json:"endpoint"`
					*admin.Log
				}{endpoint, now}
				err = n.print(c.OutOrStdout(), told, func(w io.Writer) {
					fmt.Fprintf(w, "%s: level %s, format %s\n", endpoint, now.Level, now.Format)
				})
				if err != nil {
					return err
				}
			}
			return errors.Join(failed...)
		}),
	}
	n.addFlags(c)
	c.Flags().StringVar(&to.Level, "level", "", "debug, info, warn or error")
	c.Flags().StringVar(&to.Format, "format", "", "text or json")
	return c
}
