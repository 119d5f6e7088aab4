package etcdapitest

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// FailOver has the history of a node go on in a reign that began without what other nodes have behind this place. It is
// called while nobody writes there.
func (n *Node) FailOver(tb testing.TB, epoch replication.Epoch, place uint8) {
	tb.Helper()
	r := replication.Reign{Epoch: epoch, First: 2, Primary: "test", Lossy: true, Place: place}
	binary.LittleEndian.PutUint64(r.Nonce[:], rand.Uint64())
	at := replication.Metadata{AppliedIndex: 1, AppliedTerm: 1, Epoch: epoch, Position: 1}
	if err := n.Store.Begin(r, &at); err != nil {
		tb.Fatal(err)
	}
}
