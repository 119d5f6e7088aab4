package main

import (
	"errors"
	"testing"

	"github.com/spf13/cobra"
)

// TestAPointIsNamedOnce, as wrong usage is told anywhere else.
func TestAPointIsNamedOnce(t *testing.T) {
	for _, test := range []struct {
		args []string
		want error
	}{
		{nil, nil},
		{[]string{"--at-position", "7"}, nil},
		{[]string{"--at-revision", "0"}, errUsage},
		{[]string{"--at-position", "7", "--at-revision", "8"}, errUsage},
		{[]string{"--at-time", "14:05:00", "--at-position", "7"}, errUsage},
		{[]string{"--at-time", "five"}, errUsage},
	} {
		var p pointFlags
		c := &cobra.Command{}
		p.add(c)
		if err := c.ParseFlags(test.args); err != nil {
			t.Fatal(err)
		}
		if _, err := p.point(c); !errors.Is(err, test.want) {
			t.Errorf("%v: %v", test.args, err)
		}
	}
}
