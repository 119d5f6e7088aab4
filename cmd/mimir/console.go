package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/console"
)

// lookForConsole makes a picture for the page that nodes serve: what mimir status would print, asked of that node.
func lookForConsole(ctx context.Context, client *admin.Client) (*console.Picture, error) {
	now := time.Now()
	f, err := inspect(ctx, client)
	if err != nil {
		return nil, err
	}
	return f.picture(now), nil
}

// picture is the report in the words in which print tells it.
func (f *fleetReport) picture(now time.Time) *console.Picture {
	p := &console.Picture{
		At: now, Fleet: f.Fleet, Asked: f.Asked, Primary: f.Primary, Epoch: fmt.Sprint(f.Epoch),
		Lines: f.lines(), Slots: f.slotsOfPrimary(), Votes: []string{},
	}
	if err := f.verdict(true, false); err != nil {
		p.Wrong = err.Error()
	}
	v := f.votesOfPrimary()
	if v != nil {
		p.Votes, p.Voters = votesTold(v)
	}
	for i := range f.Regions {
		r := &f.Regions[i]
		row := f.regionOf(r)
		row.Fence = r.fence()
		if row.Fence == "" && v != nil && r.Name == f.Primary {
			row.Fence = "whether it has a lease is not known: its leader does not answer"
		}
		p.Regions = append(p.Regions, row)
		for _, n := range r.Nodes {
			if said := r.node(n.Name); said == nil && n.Reachable {
				p.Silent = append(p.Silent, n.Name)
			} else if said != nil && said.tls != nil {
				for _, c := range said.tls.Certificates {
					p.Certificates = append(p.Certificates, console.Certificate{Node: n.Name, Block: c.Block,
						Kind: c.Kind, Subject: c.Subject, NotAfter: c.NotAfter, State: c.State})
				}
			}
		}
	}
	return p
}

// lines are what print writes beside the table, with the commands that help. Their order is that of how bad they are.
func (f *fleetReport) lines() (list []console.Line) {
	say := func(kind, text string, commands ...string) {
		list = append(list, console.Line{Kind: kind, Text: text, Commands: commands})
	}
	for _, text := range f.Warnings {
		say(console.Wrong, text)
	}
	if f.Primary == "" {
		say(console.Wrong, "no region is known to be primary", "mimir status --verbose"+f.at(""))
	}
	if c := f.Certificates; c != nil {
		for _, text := range c.Wrong {
			say(console.Wrong, text)
		}
		for _, text := range c.Soon {
			say(console.Wrong, text)
		}
	}
	if f.Backups != nil {
		for _, text := range f.Backups.Wrong {
			say(console.Wrong, text)
		}
	}
	for _, answers := range []bool{false, true} { // a region that is gone is why others have something to say
		for _, r := range f.Regions {
			if text := r.problems(); text != "" && r.Heard == answers {
				say(console.Wrong, r.Name+": "+text, f.helpFor(&r)...)
			}
		}
	}
	for _, text := range f.waysAround {
		say(console.Wrong, text)
	}
	for _, text := range f.Notes {
		say(console.Note, text)
	}
	for _, r := range f.Regions {
		if r.Moving != "" && !r.Sealed {
			say(console.Note, r.Name+" "+r.Moving, "mimir switchover --abort"+f.at(r.Name))
		}
	}
	for _, text := range f.Open {
		say(console.Open, text)
	}
	for _, text := range f.linesTold() {
		say(console.Told, text)
	}
	return list
}

// linesTold are those that say how it is where nothing is wrong, or what the loss of a region would cost.
func (f *fleetReport) linesTold() (list []string) {
	for _, r := range f.Regions {
		if r.Late != nil {
			list = append(list, r.Name+": "+lateText(r.Late))
		}
	}
	var text bytes.Buffer
	printPartial(&text, f)
	f.printArchive(&text)
	if f.Backups != nil {
		fmt.Fprintln(&text, f.Backups.Text)
	}
	f.printLoss(&text)
	return append(list, strings.Split(strings.TrimRight(text.String(), "\n"), "\n")...)
}

// helpFor are the commands with which an operator goes on where something is wrong with a region. None changes anything
// without saying before what it costs: a failover without --force tells what would be lost, and moves nothing.
func (f *fleetReport) helpFor(r *regionReport) (commands []string) {
	voting, known := f.votes()
	switch {
	case r.Sealed:
		commands = append(commands, "mimir switchover --abort"+f.at(r.Name))
	case r.Role == replication.RoleDiverged:
		commands = append(commands, "mimir tail list"+f.at(r.Name))
	case !r.Heard && r.Name == f.Primary && !voting && f.hears() != nil: // it is not gone: no failover
		commands = append(commands, "mimir status"+endpointsOf(f.hears()))
	case !r.Heard && (r.Name == f.Primary || f.Primary == ""):
		for _, other := range f.Regions {
			if other.Heard && other.Name != r.Name && other.Role == replication.RoleSecondary && other.Late == nil {
				commands = append(commands, "mimir failover --to "+other.Name+f.at(other.Name))
			}
		}
		show := "mimir fleet show" + f.at("")
		if voting || !known { // and why nobody takes over comes first
			return append([]string{show}, commands...)
		}
		commands = append(commands, show)
	default:
		commands = append(commands, "mimir status --verbose"+f.at(r.Name))
	}
	return commands
}

// at is the flag that names who is to be asked: nodes that answer, of the region of that name first.
func (f *fleetReport) at(region string) string {
	var first, rest []string
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			switch {
			case !n.Reachable || len(n.ClientURLs) == 0:
			case r.Name == region:
				first = append(first, n.ClientURLs[0])
			default:
				rest = append(rest, n.ClientURLs[0])
			}
		}
	}
	if list := append(first, rest...); len(list) > 0 {
		return " --endpoints " + strings.Join(list[:min(len(list), mostAt)], ",")
	}
	return ""
}

// mostAt is how many nodes a command names.
const mostAt = 3

// votesOfPrimary returns what the leader of the primary says of votes, or who knows the newest charter if that one does
// not answer; nil if none are taken, or nobody says.
func (f *fleetReport) votesOfPrimary() (found *replication.VoteStatus) {
	known := 0 // how much who was found knows
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.health == nil || n.health.Votes == nil {
				continue
			}
			v, knows := n.health.Votes, 1
			switch {
			case v.Holds:
				knows = 3
			case v.Fenced:
				knows = 2
			}
			if knows > known || knows == known && newer(v, found) {
				found, known = v, knows
			}
		}
	}
	return found
}

// newer reports whether a is by a newer charter than b.
func newer(a, b *replication.VoteStatus) bool {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Charter, b.Charter)) > 0
}

// votesTold is what printVotes writes: its sentences, and its voters as rows.
func votesTold(v *replication.VoteStatus) (sentences []string, voters []console.Voter) {
	var text bytes.Buffer
	printVotes(&text, v)
	for line := range strings.Lines(text.String()) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "  ") {
			sentences = append(sentences, line)
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimPrefix(strings.TrimSpace(rest), "priority ")
		priority, state, _ := strings.Cut(rest, " ")
		voters = append(voters, console.Voter{Name: name, Priority: priority, State: strings.TrimSpace(state)})
	}
	return sentences, voters
}

// fence says whether the region may acknowledge, as its leader has it if that takes it for the primary; else "".
func (r *regionReport) fence() string {
	for _, n := range r.nodes {
		if n.health == nil || n.health.Votes == nil {
			continue
		}
		switch v := n.health.Votes; {
		case v.Fenced:
			return fmt.Sprintf("fenced for %.1f s: it acknowledges nothing", v.FencedFor.Seconds())
		case v.Holds:
			return fmt.Sprintf("has a lease for %.1f s more", v.Left.Seconds())
		}
	}
	return ""
}

// slotsOfPrimary are those of the nodes that lead a region which takes writes.
func (f *fleetReport) slotsOfPrimary() (list []console.Slot) {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.health == nil || !n.health.IsLeader || n.health.Role != replication.RolePrimary {
				continue
			}
			for _, s := range n.health.Slots {
				one := console.Slot{
					Region: s.Region, From: n.name, Position: fmt.Sprint(s.Position),
					Lag:   lagText(&replication.RegionStatus{Role: replication.RoleSecondary, Lag: s.Lag}),
					State: "no stream to this node",
				}
				if s.Connected {
					one.State = "streaming from this node"
				}
				if s.Lost {
					one.State = "lost: the log does not reach back so far, and the region takes a copy"
				}
				list = append(list, one)
			}
		}
	}
	return list
}
