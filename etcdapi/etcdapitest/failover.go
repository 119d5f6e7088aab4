package etcdapitest

import (
	"encoding/binary"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// drawn makes numbers of any size of small ones.
const drawn = 0x9e3779b97f4a7c15

// FailOver has the history of a node go on in a reign that began without what other nodes have behind this place. It is
// called while nobody writes there. It is the same reign at each node that is given the same epoch and place.
func (n *Node) FailOver(tb testing.TB, epoch replication.Epoch, place uint8) {
	tb.Helper()
	r := replication.Reign{Epoch: epoch, First: 2, Primary: "test", Lossy: true, Place: place}
	binary.LittleEndian.PutUint64(r.Nonce[:], (uint64(epoch)<<8|uint64(place))*drawn)
	at := replication.Metadata{AppliedIndex: 1, AppliedTerm: 1, Epoch: epoch, Position: 1}
	if err := n.Store.Begin(r, &at); err != nil {
		tb.Fatal(err)
	}
}
