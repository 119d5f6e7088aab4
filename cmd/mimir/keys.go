package main

import (
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/server"
)

// dataAtRest says which directory a command is about, and where its keys are.
type dataAtRest struct{ dir, keys string }

func (d *dataAtRest) addFlags(c *cobra.Command, keysNeeded bool) {
	c.Flags().StringVar(&d.dir, "data-dir", "", "data directory of a node or a witness")
	c.Flags().StringVar(&d.keys, "encryption-key-file", os.Getenv("MIMIR_ENCRYPTION_KEY_FILE"), "its keys, one a line")
	c.MarkFlagRequired("data-dir")
	if keysNeeded && d.keys == "" {
		c.MarkFlagRequired("encryption-key-file")
	}
}

func newKeys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "Make the keys of data directories, see which are needed, and rewrite what is under old ones",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newKeysNew(), newKeysList(), newKeysRewrite())
	return c
}

func newKeysNew() *cobra.Command {
	return &cobra.Command{
		Use:   "new",
		Short: "Print a new key, as encryption-key-file wants it",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			line, id := atrest.NewKey()
			_, err := fmt.Fprintf(c.OutOrStdout(), "# %s, made %s\n%s\n", id, time.Now().Format(time.DateOnly), line)
			return err
		},
	}
}

func newKeysList() *cobra.Command {
	var at dataAtRest
	c := &cobra.Command{
		Use:   "list --data-dir DIR [--encryption-key-file FILE]",
		Short: "Show which keys a data directory needs",
		Long: "Show which keys a data directory needs. It reads the first bytes of every file, needs no keys for\n" +
			"that, and a node may be running there. A key that no file needs may be taken away,\n" +
			"with a restart.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			uses, err := server.KeysInUse(at.dir, at.keys)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KEY\tFILES\tTABLES AMONG THEM\tBYTES\t")
			for _, u := range uses {
				note := ""
				switch {
				case u.Active && at.keys != "":
					note = "active"
				case !u.Known:
					note = "not in encryption-key-file"
				}
				fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", u.Key, u.Files, u.Tables, u.Bytes, note)
			}
			return w.Flush()
		},
	}
	at.addFlags(c, false)
	return c
}

func newKeysRewrite() *cobra.Command {
	var at dataAtRest
	c := &cobra.Command{
		Use:   "rewrite --data-dir DIR --encryption-key-file FILE",
		Short: "Put every file of a data directory under the first key, while its node is stopped",
		Long: "Write every file of a data directory anew that is not under the first key of encryption-key-file,\n" +
			"or make all plain if the first line is \"plain\". The node must be stopped. It needs as much free room\n" +
			"as the largest file, may be interrupted at any time, and goes on where it was.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			files, bytes, err := server.RewriteAtRest(at.dir, at.keys, logger)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(),
				"tables written anew: %d, %d bytes; all of %s is under the first key\n", files, bytes, at.dir)
			return err
		},
	}
	at.addFlags(c, true)
	return c
}
