package verify

import (
	"context"
	"errors"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Bounds of a question and its answer.
const (
	MostRanges = 1024      // ranges of a question, and parts of an answer
	mostPart   = 4 << 20   // of keys and values in a part, at which it ends with a key
	mostBytes  = 64 << 20  // likewise of an answer which is cut into parts
	mostGiven  = 256 << 20 // likewise of one range that is given
	mostKeys   = 2 << 20   // bytes of the bounds that are told in one answer
)

// Errors of a question.
var (
	// ErrCompacted says that a node has compacted more than the question takes for compacted.
	ErrCompacted = errors.New("compacted meanwhile")
	// ErrQuestion says that a question is none.
	ErrQuestion = errors.New("not a question about ranges")
	// ErrElsewhere says that the revision is of a history that parted from that of the node.
	ErrElsewhere = errors.New("the revision is no part of the history there")
)

// Range is a range of keys: from From, which is in it, up to To, which is not. No To: without a bound.
type Range struct {
	From []byte `json:"from"`
	To   []byte `json:"to,omitempty"`
}

// Part is what a range holds.
type Part struct {
	Range
	Keys     int64  `json:"keys"`
	Versions int64  `json:"versions"`
	Bytes    int64  `json:"bytes"` // of keys and values
	Sum      []byte `json:"sum"`
}

// Question asks a node for sums: of each range, or, with Every, of the first one in parts of so many keys.
type Question struct {
	Revision int64   `json:"revision"`
	Compact  int64   `json:"compact"`
	Ranges   []Range `json:"ranges"`
	Every    int64   `json:"every,omitempty"`
	// Most bounds what is summed for the answer, with Every: it ends with the part that comes to so many bytes. 0: no
	// bound but what every answer has.
	Most int64 `json:"most,omitempty"`
}

// Answer has the parts in order. More says that they end before what was asked for: what is left begins at the end of
// the last one.
type Answer struct {
	Node  string `json:"node"` // who answers
	Parts []Part `json:"parts"`
	More  bool   `json:"more,omitempty"`
}

// Store is what sums, as kv.Digest does.
type Store interface {
	Digest(ctx context.Context, q mvcc.Asked, part func(mvcc.Part) (more bool)) error
}

// Answer answers a question of what s holds. Of ranges that are given it leaves out the first that holds too much, and
// those behind it. Errors: ErrQuestion, and those of the store.
func (q *Question) Answer(ctx context.Context, s Store) (*Answer, error) {
	if len(q.Ranges) == 0 || len(q.Ranges) > MostRanges || q.Every < 0 || q.Every > 0 && len(q.Ranges) > 1 ||
		q.Most < 0 {
		return nil, ErrQuestion
	}
	a := &Answer{Parts: []Part{}}
	most, enough := int64(mostPart), int64(mostBytes)
	if q.Most > 0 {
		most, enough = min(most, q.Most), min(enough, q.Most)
	}
	if q.Every == 0 {
		most = mostGiven
	}
	var summed, told int64
	for _, r := range q.Ranges {
		asked := mvcc.Asked{From: r.From, To: r.To, Revision: q.Revision, Compact: q.Compact, Every: q.Every,
			Most: most}
		if len(r.To) == 0 {
			asked.To = nil
		}
		err := s.Digest(ctx, asked, func(p mvcc.Part) bool {
			a.Parts = append(a.Parts, Part{Range{p.From, p.To}, p.Keys, p.Versions, p.Bytes, p.Sum[:]})
			summed, told = summed+p.Bytes, told+int64(len(p.To))
			a.More = q.Every > 0 && (len(a.Parts) == MostRanges || summed >= enough || told >= mostKeys)
			return !a.More
		})
		if errors.Is(err, mvcc.ErrTooMuch) || err == nil && q.Every == 0 && summed >= mostGiven {
			a.More = true
			return a, nil
		} else if err != nil {
			return nil, err
		}
	}
	if q.Every == 0 {
		return a, nil
	}
	last := a.Parts[len(a.Parts)-1]
	a.More = a.More && len(last.To) > 0 && string(last.To) != string(q.Ranges[0].To)
	return a, nil
}
