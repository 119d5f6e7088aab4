//go:build unix

package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/console"
	"github.com/mimir-kv/mimir/server/trust"
)

// badNight is a fleet of which as much is wrong as may be at a time.
func badNight(now time.Time) *fleetReport {
	age := 3.0
	node := func(region, name string, answers bool) replication.NodeStatus {
		return replication.NodeStatus{Name: name, Region: region, Reachable: answers, ReachableKnown: true,
			ClientURLs: []string{"http://" + name + ":2379"}}
	}
	us := regionReport{Revision: -1, RegionStatus: replication.RegionStatus{
		Name: "us", Problem: "no node answers", Nodes: []replication.NodeStatus{node("us", "us-1", false)},
		Lag: replication.Lag{Seconds: -1},
	}}
	eu := regionReport{Revision: 71, RegionStatus: replication.RegionStatus{
		Name: "eu", Heard: true, By: "eu-1", Role: replication.RoleSecondary, Epoch: 4, Position: 70, Leader: "eu-1",
		LeaderAgeSeconds: &age, Voters: 3, Reachable: 2, LossKnown: true, Activity: "takes a copy of us",
		Lag:   replication.Lag{Commands: 3, Seconds: 2.5, AtLeast: true},
		Nodes: []replication.NodeStatus{node("eu", "eu-1", true), node("eu", "eu-2", true), node("eu", "eu-3", false)},
	}}
	ap := regionReport{Revision: 60, RegionStatus: replication.RegionStatus{
		Name: "ap", Heard: true, By: "ap-1", Role: replication.RoleDiverged, Epoch: 3, Position: 59, Sealed: true,
		Moving: "hands over to eu", Voters: 1, Reachable: 1, LossSurvivable: true, Survivable: true,
		Late:  &replication.Late{DelaySeconds: 60, Shown: 40},
		Nodes: []replication.NodeStatus{node("ap", "ap-1", true)},
	}}
	sa := regionReport{Revision: 60, RegionStatus: replication.RegionStatus{
		Name: "sa", Heard: true, By: "sa-1", Role: replication.RoleSecondary, Epoch: 4, Position: 70, Voters: 1,
		Lag: replication.Lag{Seconds: -1}, Moving: "brings ap closer",
		Reachable: 1, Nodes: []replication.NodeStatus{node("sa", "sa-1", true)},
	}}
	eu.nodes = []nodeReport{{
		name: "eu-1", operators: admin.Everybody, open: []string{"the peer port asks for nothing"},
		backup: &schedule.Report{To: "/backups", Region: "eu", Failure: "no space", FailedAt: now, Again: now},
		health: &replication.HealthStatus{Healthy: true, IsLeader: true, Position: 70},
		tls: &trust.Report{Certificates: []trust.Certificate{
			{Block: "client-tls", Kind: "certificate", Subject: "eu", NotAfter: now.Add(-time.Hour), State: "expired"},
			{Block: "peer-tls", Kind: "certificate", Subject: "eu", NotAfter: now.Add(time.Hour), State: "expiring"},
		}},
	}}
	ap.nodes = []nodeReport{{name: "ap-1", operators: "root", auditProblem: "no space left on device"}}
	f := &fleetReport{
		FleetStatus: &replication.FleetStatus{Fleet: "f", Asked: "eu-1", Primary: "us", Epoch: 4,
			Warnings: []string{"TWO PRIMARIES: so it seems"}, Notes: []string{"region eu: a place is held for x"}},
		Regions: []regionReport{us, eu, ap, sa},
	}
	f.tellAlarms()
	f.tellArchive()
	f.tellOpen()
	f.tellCertificates(now)
	f.tellBackups(now)
	return f
}

// Every line that mimir status prints is on the page, and nothing else is; every field of its table is too.
func TestTheConsoleSaysWhatStatusSays(t *testing.T) {
	now := time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)
	well := pictureAt(7)
	well.Primary, well.Survivable = "us", true
	for name, f := range map[string]*fleetReport{"a bad night": badNight(now), "a quiet one": well} {
		var printed bytes.Buffer
		f.print(&printed)
		p := f.picture(now)
		var want, table []string
		for line := range strings.Lines(printed.String()) {
			line = strings.TrimSuffix(line, "\n")
			for _, label := range []string{"WARNING: ", "ERROR: ", "NOTE: ", "open to others: "} {
				line = strings.TrimPrefix(line, label)
			}
			if fields := strings.Fields(line); slices.ContainsFunc(f.Regions, func(r regionReport) bool {
				return len(fields) > 0 && fields[0] == r.Name && len(fields) > 7
			}) && strings.Join(strings.Fields(strings.Join(f.rowOf(fields[0]), " ")), " ") ==
				strings.Join(fields, " ") {
				table = append(table, line)
			} else if line != "" && !strings.HasPrefix(line, "fleet ") && !strings.HasPrefix(line, "REGION") {
				want = append(want, line)
			}
		}
		if len(table) != len(f.Regions) || len(p.Regions) != len(f.Regions) {
			t.Fatalf("%s: %d rows of %d regions:\n%s", name, len(table), len(f.Regions), &printed)
		}
		got := map[string]string{}
		for _, l := range p.Lines {
			got[l.Text] = l.Kind
		}
		for _, line := range want {
			if got[line] == "" {
				t.Errorf("%s: the page does not say %q", name, line)
			}
			delete(got, line)
		}
		for line, kind := range got {
			if kind != console.Wrong || !slices.Contains(f.waysAround, line) {
				t.Errorf("%s: the page says %q, and status does not", name, line)
			}
		}
		for i, r := range p.Regions {
			shown := []string{r.Name, r.Role, r.Epoch, r.Position, r.Revision, r.Leader, r.Voters, r.Lag}
			if !slices.Equal(shown, f.Regions[i].row()) || r.Problem != f.Regions[i].problems() {
				t.Errorf("%s: %v", name, r)
			}
		}
		if (p.Wrong == "") != (f.verdict(true, false) == nil) || (p.Wrong != "") != slices.ContainsFunc(p.Lines,
			func(l console.Line) bool { return l.Kind == console.Wrong }) {
			t.Errorf("%s: well, or not: %q, %v", name, p.Wrong, p.Lines)
		}
	}
}

// rowOf returns the row of a region.
func (f *fleetReport) rowOf(name string) []string {
	return f.region(name).row()
}

// The worst stands first, with commands that can be copied, and none of them forces anything.
func TestTheConsoleSaysWhatHelps(t *testing.T) {
	p := badNight(time.Now()).picture(time.Now())
	order := []string{console.Wrong, console.Note, console.Open, console.Told}
	if !slices.IsSortedFunc(p.Lines, func(a, b console.Line) int {
		return slices.Index(order, a.Kind) - slices.Index(order, b.Kind)
	}) || p.Lines[0].Text != "TWO PRIMARIES: so it seems" {
		t.Errorf("not the worst first: %v", p.Lines)
	}
	commands := map[string][]string{}
	for _, l := range p.Lines {
		region, _, _ := strings.Cut(l.Text, ":")
		commands[region] = append(commands[region], l.Commands...)
		for _, c := range l.Commands {
			if strings.Contains(c, "--force") || !strings.HasPrefix(c, "mimir ") {
				t.Errorf("%q would do something by itself", c)
			}
		}
	}
	for region, want := range map[string]string{
		"us": "mimir failover --to eu --endpoints http://eu-1:2379,http://eu-2:2379,http://ap-1:2379",
		"ap": "mimir switchover --abort --endpoints http://ap-1:2379,http://eu-1:2379,http://eu-2:2379",
	} {
		if !slices.Contains(commands[region], want) {
			t.Errorf("%s: %q", region, commands[region])
		}
	}
	for _, list := range commands {
		for _, c := range list {
			if status, out, errs := mimir(t, strings.Fields(c + " --help")[1:]...); status != exitDone {
				t.Errorf("%s: %d %s%s", c, status, out, errs)
			}
		}
	}
}

// What is not known is drawn as nothing, never as zero, and a region of which nobody answers costs what is not known.
func TestTheConsoleInventsNothing(t *testing.T) {
	p := badNight(time.Now()).picture(time.Now())
	us, eu := p.Regions[0], p.Regions[1]
	if f := us.Figures; f.Position != nil || f.LagSeconds != nil || f.LagCommands != nil || f.LagBytes != nil {
		t.Errorf("figures of a region that does not answer: %+v", f)
	}
	if us.Role != "-" || us.Lag != "unknown" || us.NodeLoss.Cost != console.CostUnknown ||
		us.RegionLoss.Cost != console.CostUnknown {
		t.Errorf("%+v", us)
	}
	if f := eu.Figures; f.Position == nil || *f.Position != 70 || f.LagSeconds == nil || f.LagCommands != nil ||
		f.LagBytes != nil {
		t.Errorf("figures of a region whose source is not heard: %+v", f)
	}
	if f := p.Regions[3].Figures; f.Position == nil ||
		f.LagSeconds != nil || f.LagCommands != nil || f.LagBytes != nil {
		t.Errorf("figures of a region whose lag is not known: %+v", f)
	}
	if !slices.Equal(p.Silent, []string{"eu-2", "sa-1"}) {
		t.Errorf("silent are %v", p.Silent)
	}
}

// Which votes are shown: of who holds a lease before who is fenced before who only votes, and each on its own card.
func TestTheConsoleShowsTheLease(t *testing.T) {
	vote := func(v replication.VoteStatus) nodeReport {
		return nodeReport{health: &replication.HealthStatus{Votes: &v}}
	}
	f := badNight(time.Now())
	f.Regions[2].nodes = []nodeReport{vote(replication.VoteStatus{Fenced: true, For: "ap", FencedFor: time.Second})}
	f.Regions[3].nodes = []nodeReport{vote(replication.VoteStatus{For: "us"})}
	if p := f.picture(time.Now()); !strings.Contains(strings.Join(p.Votes, "\n"), "ap is fenced for 1.0 s") ||
		!strings.Contains(p.Regions[2].Fence, "fenced for 1.0 s") ||
		!strings.Contains(p.Regions[0].Fence, "not known") || p.Regions[3].Fence != "" {
		t.Errorf("%q, %+v", p.Votes, p.Regions)
	}
	f.Regions[1].nodes = []nodeReport{vote(replication.VoteStatus{Holds: true, For: "eu", Left: 2 * time.Second})}
	if p := f.picture(time.Now()); !strings.Contains(strings.Join(p.Votes, "\n"), "eu has a lease for 2.0 s more") ||
		p.Regions[1].Fence != "has a lease for 2.0 s more" {
		t.Errorf("%q, %+v", p.Votes, p.Regions[1])
	}
}

// Of votes the page has every sentence and every voter that mimir fleet show prints.
func TestTheConsoleShowsTheVotes(t *testing.T) {
	v := &replication.VoteStatus{
		Charter: 2, Automatic: true, Lease: 3 * time.Second, Holds: true, For: "us", MaxLoss: 10, Ceiling: 70,
		Why: "it has priority 0", Priorities: map[string]uint8{"ap": 7}, Voters: []replication.VoterStatus{
			{ID: "us", Priority: 100, Supports: true},
			{ID: "eu", Priority: 9, Problem: "no answer", ProblemFor: time.Second},
			{ID: "witness/w1", Witness: true},
		},
	}
	sentences, voters := votesTold(v)
	var printed bytes.Buffer
	printVotes(&printed, v)
	if lines := strings.Count(printed.String(), "\n"); lines != len(sentences)+len(voters) || len(sentences) != 3 {
		t.Errorf("%q and %v of\n%s", sentences, voters, &printed)
	}
	want := []console.Voter{{Name: "us", Priority: "100", State: "supports the primary"},
		{Name: "eu", Priority: "9", State: "for 1.0 s: no answer"}, {Name: "witness/w1", Priority: "0", State: "-"},
		{Name: "ap", Priority: "7", State: "does not vote, and gets this priority again when it does"}}
	if !slices.Equal(voters, want) {
		t.Errorf("%+v", voters)
	}
}

// What writes wait for, where nothing may be lost, is said as it is: with one region that votes, for nobody.
func TestWhatWritesWaitForIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		ceiling replication.Position
		spread  int
		want    string
	}{
		"the charter is not kept yet": {0, 2, "acknowledges nothing until"},
		"one region votes":            {unbounded, 1, "no write waits for another region"},
		"three do":                    {unbounded, 2, "until 2 regions have it, and a failover loses none"},
		"five do":                     {unbounded, 3, "until 3 regions have it, and a failover loses none"},
		"an older node says nothing":  {unbounded, 0, "too old to say"},
	} {
		var printed bytes.Buffer
		printVotes(&printed, &replication.VoteStatus{Holds: true, For: "us", Ceiling: c.ceiling, Spread: c.spread})
		if !strings.Contains(printed.String(), c.want) {
			t.Errorf("%s: %s", name, &printed)
		}
	}
}

// A node that cannot be asked is no picture.
func TestTheConsoleOfNobody(t *testing.T) {
	client, err := admin.NewClient([]string{"127.0.0.1:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if p, err := lookForConsole(context.Background(), client); err == nil {
		t.Errorf("%+v", p)
	}
}

// A primary that another region hears is not gone, and the page proposes no failover then, as mimir status does not;
// nor one to a region that is kept late, and where votes are taken it says first who votes.
func TestTheConsoleProposesNoNeedlessFailover(t *testing.T) {
	commands := func(f *fleetReport) []string { return f.helpFor(f.find("us")) }
	f := wrongFleet()
	if list := commands(f); len(list) != 3 || list[0] != "mimir failover --to asia" {
		t.Errorf("of a primary that nobody hears: %q", list)
	}
	f.find("asia").Late = &replication.Late{DelaySeconds: 60}
	if list := commands(f); len(list) != 2 || list[0] != "mimir failover --to eu" {
		t.Errorf("with a region that is kept late: %q", list)
	}
	f.find("eu").nodes[0].health = &replication.HealthStatus{Votes: &replication.VoteStatus{}}
	if list := commands(f); len(list) != 2 || list[0] != "mimir fleet show" {
		t.Errorf("where votes are taken: %q", list)
	}
	f = wrongFleet()
	f.find("eu").nodes = nil
	if list := commands(f); len(list) != 3 || list[0] != "mimir fleet show" {
		t.Errorf("where it is not known whether votes are taken: %q", list)
	}
	f = wrongFleet()
	eu := &f.find("eu").RegionStatus
	eu.Source, eu.Connected, eu.Lag.Seconds = "us", true, 0.3
	if list := commands(f); len(list) != 1 || list[0] != "mimir status" {
		t.Errorf("of one that eu hears: %q", list)
	}
}
