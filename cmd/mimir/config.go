package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/fleetfile"
)

func newConfig() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Make files of settings: of all nodes of a fleet, or a sample of every setting",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newConfigGenerate(), newConfigSample())
	return c
}

func newConfigSample() *cobra.Command {
	return &cobra.Command{
		Use:   "sample",
		Short: "Print a configuration file that explains every setting",
		Long: "Print a configuration file for mimir serve that has every setting with what it means and its\n" +
			"default, commented out but for data-dir. Packages install it as /etc/mimir/mimir.yaml.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(server.Sample())
			return err
		},
	}
}

func newConfigGenerate() *cobra.Command {
	g := generate{}
	c := &cobra.Command{
		Use:   "generate FILE --out DIR",
		Short: "Make the file of each node, and the command of each witness, of a fleet file",
		Long: "Make DIR/NODE/mimir.yaml for each node of a fleet file, with which mimir serve runs it, and\n" +
			"DIR/WITNESS/witness.sh for each witness, which runs it. Every file is loaded as its node would before\n" +
			"any is written. Files that it made before are written over, others not, but with --force. On the\n" +
			"host, mimir serve --check --fleet-file FILE holds what a node is told against the fleet file.",
		Args: oneArgument("the fleet file"),
		RunE: func(c *cobra.Command, arguments []string) error {
			f, err := readFleet(arguments[0])
			if err != nil {
				return err
			}
			if err := g.prepare(f); err != nil {
				return err
			}
			for _, one := range g.files {
				state, err := one.write()
				if err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s %s\n", state, one.path)
			}
			return nil
		},
	}
	c.Flags().StringVar(&g.dir, "out", "", "directory that gets a directory for each node")
	c.Flags().BoolVar(&g.force, "force", false, "write over files that were not made by this command")
	c.MarkFlagRequired("out")
	return c
}

// readFleet reads a fleet file; what is wrong with it is wrong usage.
func readFleet(path string) (*fleetfile.Fleet, error) {
	f, err := fleetfile.Read(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return f, nil
}

// generate makes the files of a fleet.
type generate struct {
	dir   string
	force bool
	files []madeFile
}

// madeFile is a file of a node that is to be written.
type madeFile struct {
	path string
	text []byte
	mode fs.FileMode
}

// prepare makes everything, and sees that it can be used and written.
func (g *generate) prepare(f *fleetfile.Fleet) error {
	for _, m := range f.Members() {
		name, text, err := f.File(m)
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		one := madeFile{filepath.Join(g.dir, m.Name, name), text, 0o644}
		if m.Region == fleetfile.WitnessRegion {
			one.mode = 0o755
		} else if err := loads(text); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		before, err := os.ReadFile(one.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && !g.force && !bytes.Contains(before, []byte(fleetfile.Mark)) {
			return fmt.Errorf("%w: %s was not made by this command: name another --out, or give --force", errUsage,
				one.path)
		}
		g.files = append(g.files, one)
	}
	return nil
}

// loads reports what a node would say of settings, whatever the environment of this process has.
func loads(text []byte) error {
	return withTemporary(text, func(path string) error {
		_, err := server.Load(path, func(string) (string, bool) { return "", false }, nil)
		return err
	})
}

// withTemporary calls do with a file that holds text, and removes it.
func withTemporary(text []byte, do func(path string) error) error {
	dir, err := os.MkdirTemp("", "mimir-config-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, fleetfile.NodeFile)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	return do(path)
}

// write writes the file at once, and says what became of it.
func (m *madeFile) write() (state string, err error) {
	before, err := os.ReadFile(m.path)
	if err == nil && bytes.Equal(before, m.text) {
		return "unchanged", nil
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o755); err != nil {
		return "", err
	}
	temporary := m.path + ".new"
	if err := os.WriteFile(temporary, m.text, m.mode); err != nil {
		return "", err
	}
	return "wrote", os.Rename(temporary, m.path)
}

// checkAgainst holds what the node is told against the fleet file, and returns what is wrong.
func checkAgainst(c *cobra.Command, file, fleet, node string) (notes []string, wrong []error) {
	f, err := readFleet(fleet)
	if err != nil {
		return nil, []error{err}
	}
	m, known := f.Member(node)
	if !known || m.Region == fleetfile.WitnessRegion {
		return nil, []error{fmt.Errorf("%w: %s has no node %q", server.ErrConfig, fleet, node)}
	}
	_, text, err := f.File(m)
	if err != nil {
		return nil, []error{fmt.Errorf("%w: %w", server.ErrConfig, err)}
	}
	err = withTemporary(text, func(path string) error {
		notes, wrong = server.Against(file, path, os.LookupEnv, c.Flags())
		return nil
	})
	if err != nil {
		wrong = append(wrong, err)
	}
	return notes, wrong
}
