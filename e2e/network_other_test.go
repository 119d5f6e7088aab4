//go:build !linux

package e2e

import (
	"testing"
	"time"
)

// wide is for Linux alone.
type wide struct{ network }

func cannotBeWide() string { return "namespaces are Linux's" }

const inside = "E2E_INSIDE"

func apart(*testing.T, string) bool { return false }

func newWide(time.Duration, []string) (*wide, error) { panic("not here") }

func (*wide) address(string, int, int) string { panic("not here") }

func (*wide) at(string) []string { panic("not here") }
