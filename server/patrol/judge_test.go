package patrol

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/server/verify"
)

// fleetOf returns members, each "region" followed by "-" and anything, which vote.
func fleetOf(names ...string) (list []Member) {
	for i, name := range names {
		region, _, _ := strings.Cut(name, "-")
		list = append(list, Member{Name: name, Region: region, Addr: name, ID: uint64(i + 1), Voter: true})
	}
	return list
}

// Who is right is decided by majorities, and where there is none nobody decides it.
func TestJudge(t *testing.T) {
	six := []string{"us-1", "us-2", "us-3", "eu-1", "eu-2", "eu-3"}
	five := []string{"us-1", "us-2", "us-3", "us-4", "us-5"}
	for name, c := range map[string]struct {
		members []string
		groups  string // of nodes that hold the same, separated by "|"
		wrong   string
		unsure  string
	}{
		"one of three": {six, "us-1 us-3 eu-1 eu-2 eu-3|us-2", "us-2", ""},
		"one of three, in a region that is alone": {six[:3], "us-1 us-3|us-2", "us-2", ""},
		"one of each region":                      {six, "us-1 us-3 eu-1 eu-3|us-2|eu-2", "eu-2 us-2", ""},
		"one of three, and one does not answer": {six, "us-3 eu-1 eu-2 eu-3|us-2", "",
			"eu-1 eu-2 eu-3 us-2 us-3"},
		"one of three that another region was copied from, and one of the others does not answer": {six,
			"us-1 eu-1 eu-2 eu-3|us-2", "", "eu-1 eu-2 eu-3 us-1 us-2"},
		"one of three, and of another region one does not answer": {six, "us-1 us-3 eu-1 eu-2|us-2", "us-2", ""},
		"one of three, and of another region one answers": {six, "us-1 us-3 eu-1|us-2", "",
			"eu-1 us-1 us-2 us-3"},
		"one of three, and another region does not answer": {six, "us-1 us-3|us-2", "", "us-1 us-2 us-3"},
		"one of three, and another region may hold either": {six, "us-1 us-3 eu-1|us-2 eu-2", "",
			"eu-1 eu-2 us-1 us-2 us-3"},
		"one of three, and of two other regions one does not answer": {append(six[:6:6], "ap-1"),
			"us-1 us-3 eu-1 eu-2 eu-3|us-2", "", "eu-1 eu-2 eu-3 us-1 us-2 us-3"},
		"one of five, and one does not answer":        {five, "us-1 us-2 us-3|us-4", "us-4", ""},
		"two of five, and one does not answer":        {five, "us-1 us-2|us-4 us-5", "", "us-1 us-2 us-4 us-5"},
		"one of two that answer, and no other region": {six, "us-3|us-2", "", "us-2 us-3"},
		"two of three, against the other region": {six, "us-1 us-3|us-2 eu-1 eu-2 eu-3", "",
			"eu-1 eu-2 eu-3 us-1 us-2 us-3"},
		"one of three that another region was copied from": {six, "us-1 eu-1 eu-2 eu-3|us-2 us-3", "",
			"eu-1 eu-2 eu-3 us-1 us-2 us-3"},
		"a region as a whole": {six, "us-1 us-2 us-3|eu-1 eu-2 eu-3", "",
			"eu-1 eu-2 eu-3 us-1 us-2 us-3"},
		"a region of three as a whole": {[]string{"us-1", "eu-1", "ap-1"}, "us-1 ap-1|eu-1", "", "eu-1"},
		"two nodes":                    {[]string{"us-1", "eu-1"}, "us-1|eu-1", "", "eu-1 us-1"},
		"two siblings, and another region with one": {[]string{"us-1", "us-2", "eu-1"}, "us-1 eu-1|us-2", "",
			"eu-1 us-1 us-2"},
		"two siblings, and another region with each": {[]string{"us-1", "us-2", "eu-1", "ap-1"},
			"us-1 eu-1|us-2 ap-1", "", "ap-1 eu-1 us-1 us-2"},
		"all three differ": {six[:3], "us-1|us-2|us-3", "", "us-1 us-2 us-3"},
		"all three differ, eu knows one": {six, "us-1 eu-1 eu-2 eu-3|us-2|us-3", "",
			"eu-1 eu-2 eu-3 us-1 us-2 us-3"},
	} {
		var groups []verify.Group
		for _, g := range strings.Split(c.groups, "|") {
			groups = append(groups, verify.Group{Nodes: strings.Fields(g)})
		}
		v := Judge(groups, fleetOf(c.members...), nil)
		if !slices.Equal(v.Wrong, strings.Fields(c.wrong)) || !slices.Equal(v.Unsure, strings.Fields(c.unsure)) {
			t.Errorf("%s: wrong %v, unsure %v", name, v.Wrong, v.Unsure)
		}
	}
	learner := fleetOf(six[:3]...)
	learner[2].Voter = false
	groups := []verify.Group{{Nodes: []string{"us-1"}}, {Nodes: []string{"us-2", "us-3"}}}
	if v := Judge(groups, learner, nil); len(v.Wrong) > 0 {
		t.Errorf("who does not vote makes no majority: %+v", v)
	}
}

// A region keeps a majority of voters of whom nothing is said, whoever was found to be wrong before: he is not
// compared.
func TestJudgeLeavesAMajority(t *testing.T) {
	six := fleetOf("us-1", "us-2", "us-3", "eu-1", "eu-2", "eu-3")
	split := []verify.Group{{Nodes: []string{"us-3", "eu-1", "eu-2", "eu-3"}}, {Nodes: []string{"us-2"}}}
	v := Judge(split, six, nil)
	if len(v.Wrong) > 0 || !slices.Contains(v.Unsure, "us-2") || !slices.Contains(v.Unsure, "us-3") {
		t.Errorf("a second one of three: %+v", v)
	}
	five := fleetOf("us-1", "us-2", "us-3", "us-4", "us-5")
	apart := []verify.Group{{Nodes: []string{"us-3", "us-4", "us-5"}}, {Nodes: []string{"us-2"}}}
	if v := Judge(apart, five, nil); !slices.Equal(v.Wrong, []string{"us-2"}) {
		t.Errorf("a second one of five: %+v", v)
	}
}

// A region of which no node is known may hold anything.
func TestJudgeOfAnUnheardRegion(t *testing.T) {
	groups := []verify.Group{{Nodes: []string{"us-1", "us-2"}}, {Nodes: []string{"us-3"}}}
	v := Judge(groups, fleetOf("us-1", "us-2", "us-3"), []string{"eu"})
	if len(v.Wrong) > 0 || len(v.Unsure) != 3 {
		t.Errorf("%+v", v)
	}
}

// What is read is paid before more is, and a round goes as fast as it has to and no faster than it may.
func TestPace(t *testing.T) {
	b := budget{rate: 1000}
	if left := b.left(time.Hour); left != 0 {
		t.Errorf("nothing was read: %v", left)
	}
	b.spend(time.Hour, 2000)
	b.spend(time.Hour, 1000)
	if left := b.left(time.Hour + time.Second); left != 2*time.Second {
		t.Errorf("left: %v", left)
	}
	if left := b.left(2 * time.Hour); left != 0 {
		t.Errorf("left after an hour: %v", left)
	}
	for _, c := range []struct {
		last, most int64
		want       int64
	}{
		{0, 4 << 20, 4 << 20},               // nothing is known
		{1 << 40, 4 << 20, 4 << 20},         // never faster
		{1 << 10, 4 << 20, leastRate},       // nor very slow
		{43200 << 20, 4 << 20, 1 << 20},     // in half of a day
		{43200 << 20, 512 << 10, 512 << 10}, // but for the bound
	} {
		if got := pace(c.last, c.most, 24*time.Hour); got != c.want {
			t.Errorf("after %d, at most %d: %d, want %d", c.last, c.most, got, c.want)
		}
	}
}
