package auth

import (
	"errors"
	"math"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
)

// A revision that nobody comes to is not taken: it would leave no room for those that follow.
func TestTheRevisionOfElsewhereIsBounded(t *testing.T) {
	for _, revision := range []uint64{0, 7, mostForeignRevision, mostForeignRevision + 1, math.MaxUint64} {
		edit := New().Edit()
		e := &edit
		err := e.Adopt(&Foreign{Roles: []*authpb.Role{{Name: []byte("r")}}, Revision: revision}, nil, disk{})
		switch {
		case revision > mostForeignRevision:
			if !errors.Is(err, ErrForeign) {
				t.Errorf("%d: %v", revision, err)
			}
		case err != nil || e.Revision() != max(revision, FirstRevision):
			t.Errorf("%d: %d, %v", revision, e.Revision(), err)
		}
	}
	for what, f := range map[string]*Foreign{
		"a role": {Roles: []*authpb.Role{{Name: []byte("r\xff")}}},
		"a user": {Users: []*authpb.User{{Name: []byte("u\xff")}}},
	} {
		edit := New().Edit()
		if err := edit.Adopt(f, nil, disk{}); !errors.Is(err, ErrForeign) || edit.Used() {
			t.Errorf("%s whose name is no text: %v", what, err)
		}
	}
	long := []*authpb.Role{{Name: []byte(strings.Repeat("r", MaxNameBytes+1))}}
	edit := New().Edit()
	if err := edit.Adopt(&Foreign{Roles: long}, nil, disk{}); !errors.Is(err, ErrForeign) {
		t.Errorf("a long name: %v", err)
	}
}
