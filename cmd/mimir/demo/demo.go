package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mimir-kv/mimir/cmd/mimir/dev"
	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/server/admin"
)

// Defaults of a play.
const (
	DefaultNodes    = 3
	DefaultWANDelay = 40 * time.Millisecond
	DefaultRate     = 200
	DefaultWrites   = 400
)

// Options of a play. All must be set but Opened.
type Options struct {
	Nodes    int           // of each of the two regions
	WANDelay time.Duration // one way, between them
	Rate     int           // writes a second that are tried, by all clients together
	Writes   int           // that are acknowledged between one event of the story and the next, at least

	// Serve is the command that runs a node, to which "--config FILE" is added.
	Serve []string
	// Ready says what is missing until the fleet serves; see [dev.Options].
	Ready func(ctx context.Context, f *dev.Fleet, unheard string) (waitingFor string)
	// Command runs mimir with arguments, and returns what it printed, and whether it ended with 0.
	Command func(ctx context.Context, arguments ...string) (text string, done bool)
	// Opened is told where the fleet is when it serves; nil: nobody is.
	Opened func(f *dev.Fleet)
	// Out receives the story.
	Out io.Writer
}

// The regions of the story: home is primary first, and after the failover.
const (
	home = "us"
	away = "eu"
)

const (
	readyTimeout = time.Minute
	// sceneTimeout bounds what takes seconds on a machine that has nothing else to do.
	sceneTimeout = 2 * time.Minute
	poll         = 20 * time.Millisecond
)

// Run plays the story, and fails if anything in it was not as it is promised. It is over when it returns: nothing that
// it started is left.
func Run(ctx context.Context, o Options) (err error) {
	dir, err := os.MkdirTemp("", "mimir-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fleet, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: o.Serve, Regions: []string{home, away}, Nodes: o.Nodes, Delay: o.WANDelay,
	})
	if err != nil {
		return err
	}
	defer fleet.Close()
	s := &stage{o: o, fleet: fleet, began: time.Now()}
	s.title("A fleet of two regions, %s and %s, %s apart one way: %d processes on this machine", home, away, o.WANDelay,
		2*o.Nodes)
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close()
	return s.play(ctx)
}

// stage is where the story is played.
type stage struct {
	o     Options
	fleet *localfleet.Fleet
	began time.Time

	client *clientv3.Client
	admin  *admin.Client
	load   *load
	watch  *watcher
}

// open starts the fleet, and makes clients of all its nodes.
func (s *stage) open(ctx context.Context) error {
	if err := localfleet.Start(s.fleet.Nodes()); err != nil {
		return err
	}
	missing := ""
	err := until(ctx, readyTimeout, func() bool {
		missing = s.o.Ready(ctx, dev.Describe(s.fleet), s.fleet.Unanswered())
		return missing == "" || s.ended() != ""
	})
	if text := s.ended(); text != "" {
		return errors.New(text)
	} else if err != nil {
		return fmt.Errorf("the fleet does not serve: %s: %w", missing, err)
	}
	if s.o.Opened != nil {
		s.o.Opened(dev.Describe(s.fleet))
	}
	all := localfleet.Clients(s.fleet.Nodes())
	if s.admin, err = admin.NewClient(all, nil); err != nil {
		return err
	}
	s.client, err = clientv3.New(clientv3.Config{
		Endpoints: all, DialTimeout: 5 * time.Second, Context: ctx, Logger: zap.NewNop(), // errors are returned
	})
	return err
}

// ended says which node has ended, "" if none has: nobody has told one to.
func (s *stage) ended() string {
	for _, n := range s.fleet.Nodes() {
		if !n.Running() {
			return fmt.Sprintf("%s ended: %s; its last words: %s", n.Config.Name, n.Exit(), n.LastWords())
		}
	}
	return ""
}

func (s *stage) close() {
	if s.client != nil {
		s.client.Close() //nolint:errcheck // its nodes are about to be killed
	}
	s.admin.Close()
}

// until asks again and again until ok, for as long as within at most.
func until(ctx context.Context, within time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	next := time.NewTicker(poll)
	defer next.Stop()
	for !ok() {
		select {
		case <-next.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
