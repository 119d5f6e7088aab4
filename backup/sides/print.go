package sides

import (
	"fmt"
	"hash/crc32"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PrintOf tells what was changed at a revision from other changes; never 0. The order of the changes is none of it. It
// is kept in tokens and places: never change what it is.
func PrintOf(events []*mvccpb.Event) (print uint32) {
	var text []byte
	for _, e := range events {
		text = fmt.Appendf(text[:0], "%d %d %d %d ", e.Type, e.Kv.CreateRevision, e.Kv.Version, len(e.Kv.Key))
		sum := crc32.Update(crc32.Checksum(text, castagnoli), castagnoli, e.Kv.Key)
		print += crc32.Update(sum, castagnoli, e.Kv.Value)
	}
	return max(print, 1)
}
