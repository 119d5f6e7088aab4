package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	api "go.etcd.io/etcd/api/v3/version"
)

// What whoever builds a package says of it:
// go build -ldflags "-X main.release=v1.2.3 -X main.commit=… -X main.date=…".
// Empty otherwise.
var release, commit, date string

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
	revision, _ := builtFrom(info)
	return revision
}

// builtFrom returns the commit that the program was built from, marked if what was built differs from it, and the time
// of that commit; "unknown" where nobody said.
func builtFrom(info *debug.BuildInfo) (revision, at string) {
	revision, at = "unknown", "unknown"
	modified := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.time":
			at = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	if commit != "" {
		revision, modified = commit, ""
	}
	if date != "" {
		at = date
	}
	return revision + modified, at
}

// versionText is what `mimir version` and `mimir --version` print.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	revision, at := builtFrom(info)
	return fmt.Sprintf("mimir %s\netcd API %s\n%s %s/%s\ncommit %s of %s\n", version(), api.Version, runtime.Version(),
		runtime.GOOS, runtime.GOARCH, revision, at)
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
