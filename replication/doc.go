// Package replication makes any deterministic storage engine multi-region: one history of writes, identical
// everywhere.
//
// Inside a region a Raft group keeps the history safe and linearizable; between regions the committed log is streamed
// asynchronously; one region is the primary and takes the writes. A switchover moves the primary without losing
// anything; a failover moves it when the old one is gone, and keeps what it lost.
//
// # The engine
//
// Write a [Storage]. Its contract stands with its methods (go doc ./replication/contract Storage); in short:
//
//   - Equal calls in equal order leave equal contents and give equal results on every node: no clock, no randomness,
//     no order of a map. A command that the engine's own rules refuse has a result that says so; an error says that
//     the engine cannot go on, and stops the node.
//   - Apply does a run of commands and saves the [Metadata] that comes with it, all in one atomic step. It need not be
//     durable on return: after a power cut the library applies again what is missing. Load returns the Metadata as it
//     is by then, nil if there is none; MarshalBinary gives the bytes to keep. A batch without commands only saves
//     Metadata. Nothing of a batch is changed, or kept but for the Metadata; and results, once returned, are not
//     touched again.
//   - Begin tells of a new epoch, in order with the commands, and saves Metadata in the same way.
//   - Sync makes everything applied so far durable. An engine that keeps nothing on disk returns [ErrVolatile], and
//     the library keeps snapshots of it beside the log.
//   - Snapshot takes hold of a view of the whole content and returns: a read transaction, a copy on write, a small
//     copy ([SnapshotBytes]). The view is written out later, while further commands are applied, which must not show
//     in it.
//   - Restore replaces the whole content by what a snapshot wrote, atomically; after an error the former content is
//     still there. Metadata that is given with it takes the place of that in the snapshot.
//   - A panic is an error: the node stops, and the call is taken for one that was not made.
//
// Load, Apply, Begin, Snapshot and Restore are called by one goroutine at a time; a Sync, and writing a snapshot out,
// run beside them, and so do the reads of the embedder, which go to the engine directly: it has to guard itself.
//
// An engine that keeps its content in files, and can copy it by hard links, implements [Checkpointer] as well; one that
// can tell whether such files are what it wrote is a [Verifier], and what a disk spoiled is not copied to other nodes;
// one that can also go on from such a copy beside its state is a [Brancher], and a region of such engines that lost a
// forced failover goes back to where the histories part, where it would fetch a copy of the whole state otherwise.
// Package storagetest holds an engine to all of this: call its Run from one test. examples/bolt is an engine on disk.
//
// # A program
//
// This is a whole node of a fleet of two regions with three nodes each. It counts words. The transport is gRPC;
// transport/memory takes its place in tests, and whoever brings another links no gRPC.
//
//	package main
//
//	import (
//		"context"
//		"encoding/json"
//		"fmt"
//		"io"
//		"log"
//		"maps"
//		"net"
//		"os"
//		"os/signal"
//		"slices"
//		"sync"
//
//		"github.com/mimir-kv/mimir/replication"
//		grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
//	)
//
//	// counter is the engine. It keeps nothing on disk.
//	type counter struct {
//		mu   sync.Mutex
//		Meta *replication.Metadata
//		Of   map[string]int
//	}
//
//	func (c *counter) Load() (*replication.Metadata, error) { return c.Meta, nil }
//
//	func (c *counter) Apply(b *replication.Batch) (results [][]byte, err error) {
//		c.mu.Lock()
//		defer c.mu.Unlock()
//		for _, command := range b.Commands {
//			word := string(command.Data)
//			c.Of[word]++
//			results = append(results, fmt.Append(nil, c.Of[word]))
//		}
//		c.Meta = b.Metadata
//		return results, nil
//	}
//
//	func (c *counter) Begin(_ replication.Reign, m *replication.Metadata) error {
//		c.mu.Lock()
//		defer c.mu.Unlock()
//		c.Meta = m
//		return nil
//	}
//
//	func (c *counter) Sync() error { return replication.ErrVolatile }
//
//	func (c *counter) Snapshot() (replication.Snapshot, error) {
//		c.mu.Lock()
//		defer c.mu.Unlock()
//		content, err := json.Marshal(c)
//		return replication.SnapshotBytes(content), err
//	}
//
//	func (c *counter) Restore(r io.Reader, m *replication.Metadata) error {
//		restored := counter{Of: map[string]int{}}
//		if err := json.NewDecoder(r).Decode(&restored); err != nil {
//			return err
//		}
//		if m != nil {
//			restored.Meta = m
//		}
//		c.mu.Lock()
//		defer c.mu.Unlock()
//		c.Meta, c.Of = restored.Meta, restored.Of
//		return nil
//	}
//
//	// fleet says where every node is. A node is started with its region and its name: counter us us-1
//	var fleet = map[string]map[string]string{
//		"us": {"us-1": "127.0.0.1:7001", "us-2": "127.0.0.1:7002", "us-3": "127.0.0.1:7003"},
//		"eu": {"eu-1": "127.0.0.1:7011", "eu-2": "127.0.0.1:7012", "eu-3": "127.0.0.1:7013"},
//	}
//
//	func run(ctx context.Context, region, name string) error {
//		config := &replication.Config{
//			NodeID: name, RegionID: region, DataDir: "data-" + name, PeerAddr: fleet[region][name],
//			Nodes: fleet[region], Regions: map[string][]string{}, InitialPrimary: "us",
//		}
//		for other, nodes := range fleet {
//			if other != region {
//				config.Regions[other] = slices.Sorted(maps.Values(nodes))
//			}
//		}
//		listener, err := net.Listen("tcp", config.PeerAddr)
//		if err != nil {
//			return err
//		}
//		network, err := grpctransport.New(grpctransport.Options{
//			Listener: listener, FleetID: replication.DefaultFleetID, NodeName: name, Region: region,
//		})
//		if err != nil {
//			return err
//		}
//		node, err := replication.NewMultiRegionReplicator(config, &counter{Of: map[string]int{}})
//		if err != nil {
//			return err
//		}
//		node.SetTransport(network)
//		defer node.Shutdown()
//		if err := node.Start(ctx); err != nil {
//			return err
//		}
//		receipt, err := node.Propose(ctx, []*replication.Command{{Data: []byte("mimir")}})
//		if err != nil {
//			return err
//		}
//		fmt.Printf("position %d: mimir was counted %s times\n", receipt.Position, receipt.Results[0])
//		select {
//		case <-ctx.Done():
//			return nil
//		case <-node.Stopped():
//			return node.Err()
//		}
//	}
//
//	func main() {
//		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
//		defer stop()
//		if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// # The configuration
//
// NodeID, RegionID, DataDir, PeerAddr and Nodes have to be given (a node that joins a region later gives Join instead
// of itself among Nodes), and in a fleet Regions and InitialPrimary. Nodes and InitialPrimary count when a region is
// first formed; afterwards members and primary are state. The transport's FleetID has to be the configuration's.
//
// [Config] has the rest: sizes, the unit of Raft time, a clock and a filesystem to put in, OnLeadership for work that
// one node of the fleet has to do, OnAsk for questions to that node, which answers only while it is that one. What
// such a node decides by itself is bound to its Tenure by [WithinTenure]. [Config.Validate] names what cannot work.
// [NewRaftReplicator] is for one region alone.
//
// What the node calls, it waits for. So the methods of the Storage and of its Snapshots, and all that stands in Config,
// must not wait for the end of the node: a Shutdown from inside of them waits for its own caller, for ever. Who wants
// the node to end from there has another goroutine call Shutdown, and returns. The methods of the Storage wait for no
// write, barrier or position either: those come through the Storage. Nor do functions that must not block. OnAsk and
// OnAskNode may write and read: such calls end with the node.
//
// # Writing
//
// Propose takes one atomic unit of commands on any node of any region, forwards it to the leader of the primary, and
// returns the engine's results with the place in the history. While there is no such leader (an election, a
// switchover) it waits until the context ends. Apply and ApplyBatch are the same with a timeout and without results.
// [WithRegions] waits until further regions have the write.
//
// What an error of a write means, by errors.Is:
//
//   - [ErrNotReady]: nothing was and will be written; try again. [ErrLagging]: the same, and try again later, when
//     other regions keep up. [ErrArgument], [ErrTooLarge], [ErrUnknownRegion], [ErrRejected]: the same, and trying
//     again changes nothing; nor does it with [ErrNotLeader], which a write [WithinTenure] ends with when the tenure is
//     over.
//   - [ErrUnknownOutcome]: it cannot be known whether it was or will be written, as with any database whose leader
//     died with the answer.
//   - [ErrUnderReplicated] comes with a receipt: it is written, and not yet known to be in as many regions as asked.
//   - [ErrClosed], [ErrStopped]: this node has ended. Of a write that was under way by then nothing is known.
//
// # Reading
//
// Reads go to the engine directly. ReadBarrier comes first where a read must be fresh: with [Linearizable] it sees
// everything that was acknowledged anywhere before; [Serializable] waits, in the region of the primary, for what this
// node told to be written, a second at most, and at a node that has just started, until it has what it showed before.
// WaitReceipt makes a read see a certain write, that of a [Receipt], and says if a failover has cut it off;
// WaitPosition does not know of which history a position is. The engine has what is applied, which is acknowledged
// later: where votes are taken, BeginRead is a barrier with an end, which comes when what was read is as safe as what
// was acknowledged.
//
// # Regions
//
// Switchover and Failover move the primary and report what happened; any node takes the call. After [ErrHandoff] the
// primary is what it was; after [ErrUnknownOutcome] the regions end by themselves what was begun, one way or the
// other, and Fleet shows which. RegionFailover is the forced move to the region of the node that it is called on; in a
// primary it does nothing, and while a switchover from it is under way it is refused. A region that lost
// its place saves what only it has to rescue files, which Tails lists and ReadTail reads, and rejoins by itself.
//
// Health is one node's picture, and never waits; Fleet asks all nodes. When a node can no longer keep what it promised
// it stops itself: Stopped is closed as that begins, and Err says why. The engine is in use until Shutdown, which is
// called then as well, has returned.
//
// # What it promises, and what it leaves to others
//
// The package promises invariants 1 to 6, 8 to 10 and 13 to 15 of ARCHITECTURE.md for any Storage that keeps its
// contract. It leaves what commands mean to the Storage. Its rooms lie under internal; ARCHITECTURE.md says which
// there are. README.md has the formats.
package replication
