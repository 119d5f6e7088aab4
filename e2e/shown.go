package e2e

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// shown is the highest revision that clients saw at each node, by serializable reads without a pause.
type shown struct {
	nodes   []*localfleet.Node
	last    []int64 // by node; read once all have ended
	reading sync.WaitGroup
	cancel  context.CancelFunc
}

// look starts to read at all nodes. The reads at a node end with it, all of them with stop.
func (r *run) look(ctx context.Context) (*shown, error) {
	clients, closeAll, err := connectEach(localfleet.Clients(r.fleet.Nodes()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &shown{nodes: r.fleet.Nodes(), last: make([]int64, len(clients)), cancel: cancel}
	var each sync.WaitGroup
	for i, c := range clients {
		each.Go(func() {
			for {
				answer, err := c.Get(ctx, everything, clientv3.WithSerializable())
				if err != nil {
					return
				}
				s.last[i] = max(s.last[i], answer.Header.Revision)
			}
		})
	}
	s.reading.Go(func() {
		each.Wait()
		closeAll()
	})
	return s, nil
}

func (s *shown) stop() {
	s.cancel()
	s.reading.Wait()
}

// check wants the first answer of each node that was started again to be no older than the last one before.
func (s *shown) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	failed := make([]error, len(s.nodes))
	var all sync.WaitGroup
	for i, n := range s.nodes {
		all.Go(func() {
			first, err := firstAnswer(ctx, n)
			if err != nil {
				failed[i] = err
			} else if first < s.last[i] {
				failed[i] = fmt.Errorf("%s showed revision %d, and %d after its start", n.Config.Name, s.last[i], first)
			}
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// firstAnswer returns the revision of the first serializable read that a node which starts answers.
func firstAnswer(ctx context.Context, n *localfleet.Node) (revision int64, err error) {
	client, err := connect(n.Config.ListenClient)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	for {
		brief, cancel := context.WithTimeout(ctx, time.Second)
		answer, err := client.Get(brief, everything, clientv3.WithSerializable())
		cancel()
		switch {
		case err == nil:
			return answer.Header.Revision, nil
		case ctx.Err() != nil:
			return 0, fmt.Errorf("%s answers no serializable read: %w", n.Config.Name, err)
		}
	}
}
