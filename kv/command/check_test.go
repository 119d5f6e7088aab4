package command

import (
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func TestCheckTxn(t *testing.T) {
	ops := func(all ...*pb.RequestOp) []*pb.RequestOp { return all }
	for what, c := range map[string]struct {
		success []*pb.RequestOp
		want    error
	}{
		"nothing":                      {nil, nil},
		"two keys":                     {ops(opPut("a"), opPut("b")), nil},
		"a key twice":                  {ops(opPut("a"), opPut("a")), ErrDuplicateKey},
		"put and deleted":              {ops(opPut("b"), opDelete("a", "c")), ErrDuplicateKey},
		"put beside a deletion":        {ops(opPut("c"), opDelete("a", "c")), nil},
		"put below what is deleted on": {ops(opPut("a"), opDelete("b", "\x00")), nil},
		"two branches put a key":       {ops(opTxn(ops(opPut("a")), ops(opPut("a")))), nil},
		"nested and not":               {ops(opTxn(ops(opPut("a")), nil), opPut("a")), ErrDuplicateKey},
		"nested twice": {ops(opTxn(ops(opPut("a")), nil), opTxn(nil, ops(opPut("a")))),
			ErrDuplicateKey},
		"deleted, and put by a nested":    {ops(opTxn(ops(opPut("a")), nil), opDelete("a", "")), ErrDuplicateKey},
		"put, and deleted by a nested":    {ops(opTxn(ops(opDelete("a", "")), nil), opPut("a")), ErrDuplicateKey},
		"an empty operation":              {ops(&pb.RequestOp{}), ErrKeyNotFound},
		"no key":                          {ops(opPut("")), ErrEmptyKey},
		"a range without key":             {ops(opRange("", "")), ErrEmptyKey},
		"a deletion without key, nested":  {ops(opTxn(ops(opDelete("", "")), nil)), ErrEmptyKey},
		"four operations":                 {ops(opPut("a"), opPut("b"), opPut("c"), opPut("d")), ErrTooManyOps},
		"as many along a path":            {ops(opTxn(ops(opPut("a"), opPut("b")), nil)), nil},
		"too many along a path":           {ops(opTxn(ops(opPut("a"), opPut("b"), opPut("c")), nil)), ErrTooManyOps},
		"three beside three, not a path":  {ops(opPut("d"), opPut("e"), opPut("f")), nil},
		"a range that is sorted somehow":  {ops(sorted(9)), ErrInvalidSortOption},
		"a range that is sorted backward": {ops(sorted(pb.RangeRequest_DESCEND)), nil},
	} {
		if err := CheckTxn(&pb.TxnRequest{Success: c.success}, 3); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

func sorted(order pb.RangeRequest_SortOrder) *pb.RequestOp {
	op := opRange("a", "b")
	op.GetRequestRange().SortOrder = order
	return op
}

func TestCheckPut(t *testing.T) {
	for want, q := range map[error]*pb.PutRequest{
		nil:              {Key: []byte("k"), IgnoreLease: true, Value: []byte("v")},
		ErrEmptyKey:      {Value: []byte("v")},
		ErrValueProvided: {Key: []byte("k"), IgnoreValue: true, Value: []byte("v")},
		ErrLeaseProvided: {Key: []byte("k"), IgnoreLease: true, Lease: 1},
	} {
		if err := CheckPut(q); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", q, err, want)
		}
	}
}

func TestIsReadOnly(t *testing.T) {
	for _, c := range []struct {
		ops  []*pb.RequestOp
		want bool
	}{
		{nil, true},
		{[]*pb.RequestOp{opRange("a", "b")}, true},
		{[]*pb.RequestOp{opRange("a", "b"), opPut("a")}, false},
		{[]*pb.RequestOp{opDelete("a", "b")}, false},
		{[]*pb.RequestOp{opTxn(nil, []*pb.RequestOp{opRange("a", "")})}, true},
		{[]*pb.RequestOp{opTxn(nil, []*pb.RequestOp{opPut("a")})}, false},
	} {
		if got := IsReadOnly(&pb.TxnRequest{Failure: c.ops}); got != c.want {
			t.Errorf("%v: %t", c.ops, got)
		}
	}
}

// TestSpan sees that a span, and the interval that it is, hold the same keys.
func TestSpan(t *testing.T) {
	keys := []string{"", "a", "a\x00", "a\x00\x00", "ab", "b", "c", "\xff"}
	for _, c := range []struct{ key, end, want string }{
		{"a", "", "a"}, {"a", "\x00", "a|a\x00|a\x00\x00|ab|b|c|\xff"}, {"a", "b", "a|a\x00|a\x00\x00|ab"},
		{"b", "a", ""}, {"a", "a\x00", "a"},
	} {
		sp := SpanOf([]byte(c.key), []byte(c.end))
		from, to := sp.Interval()
		got := ""
		for _, key := range keys {
			in := sp.Contains([]byte(key))
			if in != (key >= string(from) && (to == nil || key < string(to))) {
				t.Errorf("%q to %q: key %q is in the span: %t", c.key, c.end, key, in)
			}
			if in {
				got += "|" + key
			}
		}
		if got != "|"+c.want && got != c.want {
			t.Errorf("%q to %q: %q, want %q", c.key, c.end, got, c.want)
		}
	}
}
