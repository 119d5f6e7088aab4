// Command mimir is a multi-region key-value store with the etcd v3 API: the server, and everything an operator does
// with it.
//
// Exit status: 0 done, 1 failed with one clear line on standard error, 2 wrong usage or configuration, 3 the node was
// removed from its region, 4 something of a tail conflicts or is left out (mimir tail diff and replay), 5 a failover
// has cut off what a feed has printed, 6 what comes next of a feed is compacted, or of another history (mimir feed). A
// damaged data directory and a full disk are failures like others: 1.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/feed"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/server"
	"github.com/mimir-kv/mimir/server/plain"
)

// Exit statuses, part of the command line's contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	// exitRemoved is of a node that was removed from its region: no restart changes that.
	exitRemoved = 3
	// exitLeftOver is of a tail that is not replayed whole, because of what it met and not of a failure.
	exitLeftOver = 4
	// exitVoid and exitCompacted are of a feed whose history does not lead on.
	exitVoid      = 5
	exitCompacted = 6
)

// errUsage marks wrong usage of the command line.
var errUsage = errors.New("usage")

func main() {
	// What gRPC and its gateway have to say is in no form of ours, such as a line for each client that hangs up.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx, hurry := signalled()
	os.Exit(run(ctx, hurry, os.Args[1:], os.Stdout, os.Stderr))
}

// signalled returns a context that ends with the first SIGINT or SIGTERM, and a channel that is closed by the second. A
// third one kills.
func signalled() (context.Context, <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	hurry := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		close(hurry)
		signal.Stop(signals)
	}()
	return ctx, hurry
}

// run is the whole command without the process around it.
func run(ctx context.Context, hurry <-chan struct{}, arguments []string, out, errs io.Writer) (status int) {
	out, errs = &visible{out: out}, &visible{out: errs}
	defer func() {
		if r := recover(); r != nil {
			status = exitFailed
			text := fmt.Sprintf("this is a bug of mimir: %v%s", r, keepStack())
			fmt.Fprintln(errs, "mimir:", strings.Join(strings.Fields(text), " "))
		}
	}()
	root := newRoot(hurry)
	root.SetArgs(arguments)
	root.SetOut(out)
	root.SetErr(errs)
	withExamples(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(errs, "mimir:", plain.Text(err))
	return exitStatus(err)
}

// exitStatus is how the command ends with an error.
func exitStatus(err error) int {
	var void *feed.VoidError
	var compacted *feed.CompactedError
	var forked *feed.ForkedError
	switch {
	case isUsage(err) && !durable.Passing(err): // who could not read it now may the next time, and is started again
		return exitUsage
	case errors.Is(err, replication.ErrRemoved):
		return exitRemoved
	case errors.Is(err, errLeftOver):
		return exitLeftOver
	case errors.As(err, &void):
		return exitVoid
	case errors.As(err, &compacted), errors.As(err, &forked):
		return exitCompacted
	default:
		return exitFailed
	}
}

func isUsage(err error) bool {
	return errors.Is(err, errUsage) || errors.Is(err, server.ErrConfig) || errors.Is(err, bench.ErrOptions) ||
		strings.HasPrefix(err.Error(), "required flag")
}

// keepStack writes where a panic came from to a file and returns what to say of it.
func keepStack() string {
	f, err := os.CreateTemp("", "mimir-panic-*.txt")
	if err != nil {
		return ""
	}
	_, err = f.Write(debug.Stack())
	if errors.Join(err, f.Close()) != nil {
		return ""
	}
	return "; please report it with " + f.Name()
}

func newRoot(hurry <-chan struct{}) *cobra.Command {
	root := &cobra.Command{
		Use:   "mimir",
		Short: "One history of writes, identical in every region, behind the etcd v3 API",
		Long: "One history of writes, identical in every region, behind the etcd v3 API.\n\n" +
			"Exit status of every command: 0 done, 1 failed with one clear line on standard error, 2 wrong usage\n" +
			"or configuration. Further ones are 3, the node was removed from its region (serve); 4, something of\n" +
			"a tail conflicts or is left out (tail diff and replay); 5, a failover has cut off what was printed,\n" +
			"and 6, what comes next is compacted, or of another history (feed).",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		Args:          knownCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.SetVersionTemplate(versionText())
	connection := &connection{}
	root.AddCommand(
		newServe(hurry), newDev(hurry), newDemo(), newConfig(), newCert(), newStatus(connection), newTop(connection),
		newEvents(connection), newSwitchover(connection), newFailover(connection), newFleet(connection),
		newRegion(connection), newPartial(connection), newWitness(),
		newKeys(), newLog(connection), newSnapshot(connection), newArchive(),
		newImport(), newExport(connection), newMirror(), newFeed(),
		newTail(connection), newVerify(connection), newNode(connection), newBench(connection), newVersion(),
	)
	return root
}

func noArguments(c *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return fmt.Errorf("%w: %s takes no argument, got %q", errUsage, c.CommandPath(), arguments[0])
	}
	return nil
}

// knownCommand refuses what cobra could not find among the commands of c.
func knownCommand(c *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return fmt.Errorf("%w: unknown command %q; see %s --help", errUsage, arguments[0], c.CommandPath())
	}
	return nil
}

// oneArgument wants exactly one argument and names what it is.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, arguments []string) error {
		if len(arguments) != 1 {
			return fmt.Errorf("%w: %s wants one argument, %s; got %d", errUsage, c.CommandPath(), what, len(arguments))
		}
		return nil
	}
}
