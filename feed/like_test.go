package feed

import (
	"errors"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/backup/sides"
)

// Whoever has not come to what was given out has no other history; whoever has come there or beyond, and has something
// else, has. In which order changes stand makes no difference.
func TestWhatWasGivenOutIsCompared(t *testing.T) {
	change := func(key, value string) *mvccpb.Event {
		kv := &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), CreateRevision: 7, Version: 1}
		return &mvccpb.Event{Kv: kv}
	}
	a, b := change("a", "1"), change("b", "2")
	p := place{Revision: 9, Given: 7, Print: sides.PrintOf([]*mvccpb.Event{a, b})}
	var forked *ForkedError
	gone := change("a", "1")
	gone.Type = mvccpb.Event_DELETE
	for what, test := range map[string]struct {
		number int64
		events []*mvccpb.Event
		behind bool
		forked bool
	}{
		"the same":             {7, []*mvccpb.Event{a, b}, false, false},
		"in another order":     {7, []*mvccpb.Event{b, a}, false, false},
		"behind":               {6, nil, true, false},
		"nothing there":        {7, nil, false, true},
		"nothing up to beyond": {12, nil, false, true},
		"the next one":         {8, []*mvccpb.Event{a, b}, false, true},
		"less":                 {7, []*mvccpb.Event{a}, false, true},
		"another value":        {7, []*mvccpb.Event{a, change("b", "3")}, false, true},
		"a value that moved":   {7, []*mvccpb.Event{a, change("b2", "")}, false, true},
		"a deletion":           {7, []*mvccpb.Event{gone, b}, false, true},
	} {
		err := p.like(&sides.Revision{Number: test.number, Events: test.events})
		if errors.Is(err, errBehind) != test.behind || errors.As(err, &forked) != test.forked {
			t.Errorf("%s: %v", what, err)
		}
	}
}
