package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// login holds the flags that say as whom a command asks, where the fleet has users.
type login struct{ user, password string }

func (l *login) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&l.user, "user", os.Getenv("MIMIR_USER"),
		"user of the fleet, as name:password, or name with --password (MIMIR_USER)")
	c.Flags().StringVar(&l.password, "password", os.Getenv("MIMIR_PASSWORD"), "password of --user (MIMIR_PASSWORD)")
	for _, name := range []string{"user", "password"} { // what the environment has is not shown
		c.Flags().Lookup(name).DefValue = ""
	}
}

// parts returns the name and the password, both empty for nobody.
func (l *login) parts() (name, password string, err error) {
	name, password, both := strings.Cut(l.user, ":")
	switch {
	case l.user == "" && l.password == "":
		return "", "", nil
	case both && l.password != "" && l.password != password:
		return "", "", fmt.Errorf("%w: the password stands in --user and in --password", errUsage)
	case !both:
		password = l.password
	}
	if name == "" || password == "" {
		return "", "", fmt.Errorf("%w: --user wants name:password, or a name with --password", errUsage)
	}
	return name, password, nil
}
