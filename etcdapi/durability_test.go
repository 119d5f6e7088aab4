package etcdapi

import (
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

func TestDurabilityIsRead(t *testing.T) {
	for text, others := range map[string]int{ // of five regions
		"local": 0, "regions=1": 1, "regions=4": 4, "regions=9": 9, "regions=252": 252, "quorum": 2, "all": 4,
	} {
		d, err := ParseDurability(text)
		if err != nil || d.String() != text || d.of(5) != others {
			t.Errorf("%s: %v, %v, %d regions", text, err, d, d.of(5))
		}
	}
	for regions, others := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 5: 2} {
		if n := (Durability{quorumOfRegions}).of(regions); n != others {
			t.Errorf("a quorum of %d regions is the primary and %d", regions, n)
		}
	}
	for _, text := range []string{
		"", "Local", "regions", "regions=", "regions=0", "regions=-1", "regions=253", "regions=255", "regions=256",
		"regions=1 ", "1", "majority",
	} {
		if _, err := ParseDurability(text); err == nil || !strings.Contains(err.Error(), "regions=K") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestTheStrictestOfWhatHoldsForAWriteCounts: of one key that of its longest prefix, of several keys all of them.
func TestTheStrictestOfWhatHoldsForAWriteCounts(t *testing.T) {
	rules := DurabilityRules{Default: Durability{1}, Prefixes: map[string]Durability{
		"/pay/": {2}, "/pay/log/": {}, "/pay/log/x": {3}, "\xff": {4},
	}}
	key := func(k string) span { return span{from: []byte(k)} }
	keys := func(from, to string) span { return span{[]byte(from), []byte(to)} }
	local := []Durability{{}}
	for name, c := range map[string]struct {
		said    []Durability
		touched []span
		want    int
	}{
		"no keys":                             {nil, nil, 1},
		"no keys, and less is asked for":      {local, nil, 0},
		"no prefix":                           {nil, []span{key("/a")}, 1},
		"no prefix, and less is asked for":    {local, []span{key("/a")}, 0},
		"no prefix, and more is asked for":    {[]Durability{{3}}, []span{key("/a")}, 3},
		"a prefix":                            {nil, []span{key("/pay/1")}, 2},
		"a prefix, and less is asked for":     {local, []span{key("/pay/1")}, 2},
		"a prefix, and more is asked for":     {[]Durability{{3}}, []span{key("/pay/1")}, 3},
		"two are asked for":                   {[]Durability{{3}, {}}, []span{key("/a")}, 3},
		"the longest, though it is less":      {nil, []span{key("/pay/log/1")}, 0},
		"the longest":                         {nil, []span{key("/pay/log/x1")}, 3},
		"two keys":                            {local, []span{key("/a"), key("/pay/1")}, 2},
		"a range within one":                  {nil, []span{keys("/pay/log/a", "/pay/log/b")}, 0},
		"a range with a longer one in it":     {nil, []span{keys("/pay/log/a", "/pay/log/z")}, 3},
		"a range that goes beyond a longer":   {nil, []span{keys("/pay/log/y", "/pay/z")}, 2},
		"a range that ends where one begins":  {local, []span{keys("/a", "/pay/")}, 0},
		"a range that begins before one":      {local, []span{keys("/a", "/pay/0")}, 2},
		"a range that is one":                 {local, []span{keys("/pay/log/", "/pay/log0")}, 3},
		"a range of all keys":                 {local, []span{keys("\x00", "\x00")}, 4},
		"an endless range in the last prefix": {nil, []span{keys("\xff1", "\x00")}, 4},
	} {
		if got := strictestOf(rules.demands(c.said, c.touched), 10).others; got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestBothBranchesOfATransactionAreTouched(t *testing.T) {
	put := func(k string) *pb.RequestOp { return putOp(&pb.PutRequest{Key: []byte(k)}) }
	list := touchedBy(&pb.TxnRequest{
		Success: []*pb.RequestOp{put("a"), {Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
			Failure: []*pb.RequestOp{put("b")},
		}}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{
			RequestDeleteRange: &pb.DeleteRangeRequest{Key: []byte("c"), RangeEnd: []byte("d")},
		}}, rangeOp(&pb.RangeRequest{Key: []byte("e")})},
	})
	names := ""
	for _, s := range list {
		names += string(s.from) + string(s.to) + " "
	}
	if names != "a b cd " {
		t.Errorf("touched: %s", names)
	}
}
