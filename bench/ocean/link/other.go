//go:build !linux

package link

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
)

// Namespace is one end of a Link, of which there is none here.
type Namespace struct{ Addrs []string }

type line struct{}

// Serve does nothing.
func Serve() {}

// Open says that there is no Link here.
func Open(Conditions, uint64, []string, []string) (*Link, error) { return nil, unavailable() }

func (*line) ask(request) (Stats, error) { return Stats{}, unavailable() }

// Close does nothing.
func (*Link) Close() error { return nil }

// Start starts nothing.
func (*Namespace) Start(*exec.Cmd) error { return unavailable() }

// Dial reaches nobody.
func (*Namespace) Dial(context.Context, string, string) (net.Conn, error) { return nil, unavailable() }

// Listen hears nobody.
func (*Namespace) Listen(context.Context, string) (net.Listener, error) { return nil, unavailable() }

func unavailable() error {
	return fmt.Errorf("%w: it needs Linux, not %s", ErrUnavailable, runtime.GOOS)
}
