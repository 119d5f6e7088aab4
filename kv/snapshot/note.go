package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// noteFormat is the format of a Note. One that only adds fields keeps it.
const noteFormat = 1

// Note says whose content an archive holds, and when it was written: what is not in the content itself.
type Note struct {
	Format    int       `json:"format"`
	Fleet     string    `json:"fleet"`
	Region    string    `json:"region"`
	Node      string    `json:"node"`
	ClusterID uint64    `json:"clusterID,string"`
	Version   string    `json:"version"` // of mimir
	Created   time.Time `json:"created"` // by the clock of the node, for people only
	// Position is one of the history up to which the content has everything; 0 if that is not known.
	Position uint64 `json:"position,omitempty"`
	// Place is where in the history it is, as who takes backups writes and reads it; nil if that is not known.
	Place json.RawMessage `json:"place,omitempty"`
}

// Encode returns the bytes of a note.
func (n Note) Encode() []byte {
	n.Format = noteFormat
	p, _ := json.Marshal(n)
	return p
}

// ErrNewer says that a newer version made a snapshot, in a format that is not known here: nothing is damaged.
var ErrNewer = errors.New("made by a newer version of mimir: upgrade this one")

// DecodeNote is the inverse of Encode. Nil bytes, of a version that wrote none, are the zero Note.
func DecodeNote(p []byte) (n Note, err error) {
	if p == nil {
		return n, nil
	}
	if err := json.Unmarshal(p, &n); err != nil {
		return Note{}, fmt.Errorf("%w: note: %w", mvcc.ErrCorrupt, err)
	}
	if n.Format < noteFormat {
		return Note{}, fmt.Errorf("%w: note of format %d", mvcc.ErrCorrupt, n.Format)
	}
	if n.Format > noteFormat {
		return Note{}, fmt.Errorf("%w: its note has format %d, this version knows %d", ErrNewer, n.Format, noteFormat)
	}
	return n, nil
}
