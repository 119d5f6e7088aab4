package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	api "go.etcd.io/etcd/api/v3/version"
)

// release is the version as whoever builds a package says it: go build -ldflags "-X main.release=v1.2.3". Empty
// otherwise.
var release string

// version returns the release, or the module's version, or the commit it was built from.
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, modified := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	return revision + modified
}

// versionText is what `mimir version` and `mimir --version` print.
func versionText() string {
	return fmt.Sprintf("mimir %s\netcd API %s\n%s %s/%s\n", version(), api.Version, runtime.Version(), runtime.GOOS,
		runtime.GOARCH)
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(c.OutOrStdout(), versionText())
			return err
		},
	}
}
