package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// MemberID returns the Raft identity of a node, as NodeStatus.ID and HealthStatus.RaftID have it.
func MemberID(region, node string) uint64 { return members.RaftID(region, node) }

// askNode is a question for the embedder of one node, whatever that node is.
const askNode = peer.Question[[]byte, []byte]("node")

// Direct is what embedders ask each other from node to node: a part of MultiRegionReplicator.
type Direct struct{ node *node }

// AskNode puts a question to Config.OnAskNode of the node at a peer address, of any region, and returns its answer.
// Errors: ErrRejected if it refused, or is of a version that takes no such questions; ErrNotReady, ErrClosed and
// ErrStopped, of this node or that; the transport's. It is for OnAskNode to say whether asking twice is safe.
func (d *Direct) AskNode(ctx context.Context, peerAddr string, request []byte) ([]byte, error) {
	if err := d.node.callable(ctx); err != nil {
		return nil, err
	}
	if peerAddr == d.node.config.PeerAddr {
		return d.node.answerNode(ctx, request)
	}
	return peer.Ask(ctx, d.node.client, peerAddr, askNode, request)
}

func (n *node) answerNode(ctx context.Context, request []byte) ([]byte, error) {
	if n.config.OnAskNode == nil {
		return nil, fmt.Errorf("%w: no OnAskNode", ErrRejected)
	}
	answer, err := n.config.OnAskNode(ctx, request)
	if err != nil { // it is told as on the way from another node: by its text
		return nil, fmt.Errorf("%w: %v", ErrRejected, err)
	}
	return answer, nil
}

// mustNotLead reports whether a node of this region must not lead, as far as it is known here: it differs, or is this
// one and applies nothing while the state of another comes.
func (n *node) mustNotLead(member uint64) bool {
	return member == n.id && n.rebuilding.Load() || n.config.Differs != nil && n.config.Differs(member)
}

// forget has nothing that was copied of n's state be given or gone back to any more, as region.Config.Forget asks for.
// What is given to others is not there any more after a crash.
func forget(ctx context.Context, n *node) error {
	n.shelf.Forget()
	n.group.ForgetSnapshot()
	return n.rewinds.Forget(ctx)
}

// awaited says for what of another state this node waits before it applies anything more, "" if for nothing.
func awaited(n *node) string {
	hung := ""
	if d := n.group.MachineHung(); d > 0 && n.group.DiskFull() == 0 {
		hung = fmt.Sprintf("has not finished applying what it is at for %.0f s: its storage hangs, or that is very "+
			"much, and then every node is at it", d.Seconds())
	}
	return cmp.Or(n.staging.Awaits(), n.rewinds.Awaits(), hung)
}

// asideFolder has the states that were kept when others took their place.
const asideFolder = "aside"

// asideNames is the layout of the times that their directories are named by.
const asideNames = "20060102T150405.000Z"

// Rebuild makes the state of another node of this region take the place of this node's, which is kept, as a copy, in
// the directory that is returned. Nothing is applied here meanwhile, and the others go on. The copy comes from
// whichever node of the region gives one first; one that differs, by its own Config.Differs, or is being rebuilt, gives
// none. Errors: ErrNotReady if a rebuild of this node is under way, or another state is on its way here; ErrArgument if
// this node leads, is the only one, or is of a region that shows its history late; what kept the copy from coming, and
// then nothing was changed. If it cannot be told whether something was, the node stops itself.
func (d *Direct) Rebuild(caller context.Context) (kept string, err error) {
	n := d.node
	if err := n.callable(caller); err != nil {
		return "", err
	}
	if !n.rebuilding.CompareAndSwap(false, true) { // from here on nobody elects it, nor takes its state
		return "", fmt.Errorf("%w: node %s is being rebuilt", ErrNotReady, n.config.NodeID)
	}
	defer n.rebuilding.Store(false)
	leads := func() error {
		if n.leader() == n.id {
			return fmt.Errorf("%w: node %s leads its region: hand leadership over first", ErrArgument,
				n.config.NodeID)
		}
		return nil
	}
	if err := leads(); err != nil {
		return "", err
	}
	if len(n.directory.Others()) == 0 {
		return "", fmt.Errorf("%w: node %s has no other node of its region to take the state of", ErrArgument,
			n.config.NodeID)
	}
	kept = filepath.Join(n.config.path(asideFolder), n.config.Clock.Now().UTC().Format(asideNames))
	rebuild := func(ctx context.Context) error { return n.applier.Rebuild(ctx, kept, leads) }
	if err := within(caller, n, rebuild); err != nil {
		return "", fmt.Errorf("rebuild %s: %w", n.config.NodeID, err)
	}
	return kept, nil
}

// within has the node do what its caller waits for and what uses the storage or changes the data directory: Shutdown
// waits for it too. Its context ends with the caller's and with the node. Where it fails and the node has ended, the
// error is what ended the node, and says what failed.
func within(caller context.Context, n *node, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	defer context.AfterFunc(n.life.Context(), cancel)()
	var err error
	returned, done := false, make(chan struct{})
	if !n.life.Try(func(context.Context) {
		defer close(done)
		err = do(ctx)
		returned = true
	}) {
		return n.life.Failure()
	}
	<-done
	if !returned { // it panicked, or ended its goroutine, which ends the node
		<-n.life.Stopped()
		return n.life.Failure()
	}
	switch ended := n.life.Failure(); {
	case err == nil:
		return nil
	case ended != nil && errors.Is(ended, err):
		return ended
	case ended != nil && errors.Is(err, context.Canceled) && !errors.Is(err, region.ErrTorn): // the context of the node
		return fmt.Errorf("%w: %v", ended, err)
	case ended != nil:
		return fmt.Errorf("%w: %w", ended, err)
	case caller.Err() != nil:
		return contract.EndedIn(caller, err)
	default:
		return err
	}
}

// dropHalfAside removes what an earlier process began to keep when another state was to take its place, and did not
// finish. What cannot be removed now stays until the next start.
func dropHalfAside(fs durable.FS, dir string, logger *slog.Logger) {
	names, err := fs.List(dir)
	if err != nil {
		return // nothing ever was
	}
	for _, name := range names {
		if _, err := time.Parse(asideNames, name); err != nil {
			continue // it is somebody else's
		}
		_, err := copies.ReadMetadata(fs, filepath.Join(dir, name))
		if !errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := fs.RemoveAll(filepath.Join(dir, name)); err != nil {
			logger.Warn("half of a state that was to be kept is not removed; it is tried again at the next start",
				"dir", filepath.Join(dir, name), "err", err)
		}
	}
}
