package main

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// errVotesUnknown says that nobody was asked who knows who votes. A region without a vote does not, and a fleet that
// votes looks there as one that does not.
var errVotesUnknown = errors.New("who votes is not known here: the leader of the primary does not answer, and of who " +
	"does nobody knows of votes; ask a node of a region that votes, if any are taken (--endpoints)")

// votes asks the leader of the primary, or everybody who answers if that one does not. Nil: none are taken, by the word
// of the leader of the primary.
func votes(ctx context.Context, client *admin.Client) (*replication.VoteStatus, error) {
	fleet, err := client.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	f := &fleetReport{FleetStatus: fleet}
	for _, r := range fleet.Regions {
		f.Regions = append(f.Regions, regionReport{RegionStatus: r})
	}
	if primary := f.find(fleet.Primary); primary != nil {
		if urls := clientURLs(&primary.RegionStatus); len(urls) > 0 {
			node, err := client.At(urls[0]).Node(ctx)
			if err == nil && itself(node, primary.By) == nil && node.Votes != nil {
				return node.Votes, nil
			}
		}
	}
	askVoters(ctx, client, f)
	if v := f.votesOfPrimary(); v != nil {
		return v, nil
	}
	if node, err := client.Node(ctx); err == nil && node.Votes != nil { // it may be reached by this address alone
		return node.Votes, nil
	}
	if taken, known := votesSaid(f); known && !taken {
		return nil, nil
	}
	return nil, errVotesUnknown
}

// askVoters asks every node of every region that answers.
func askVoters(ctx context.Context, client *admin.Client, f *fleetReport) {
	ctx, heard, end := together(ctx, revisionTimeout, silenceTimeout)
	defer end()
	var wg sync.WaitGroup
	for i := range f.Regions {
		r := &f.Regions[i]
		wg.Go(func() { r.nodes, r.silent = askNodes(ctx, client, r.Nodes, heard) })
	}
	wg.Wait()
}

// votes reports whether votes are taken, and whether that is known. They are if anybody says so, and are not if the
// leader of the primary says so, or, where that one does not answer, no other region knows of any: who votes does.
func (f *fleetReport) votes() (taken, known bool) {
	if f.votesOfPrimary() != nil {
		return true, true
	}
	if taken, known = votesSaid(f); known {
		return taken, known
	}
	return false, untold(f) == nil
}

// votesSaid is what the leader of the primary said of votes, as the asked node heard it.
func votesSaid(f *fleetReport) (taken, known bool) {
	for _, r := range f.Regions {
		switch r.Votes {
		case replication.VoteYes, replication.VoteNo:
			return true, true
		case replication.VoteNone:
			known = true
		}
	}
	return false, known
}

// untold returns a region beside the primary of which no node told of itself, nil if there is none.
func untold(f *fleetReport) *regionReport {
	for i := range f.Regions {
		r := &f.Regions[i]
		told := slices.ContainsFunc(r.nodes, func(n nodeReport) bool { return n.health != nil })
		if r.Name != f.Primary && !told {
			return r
		}
	}
	return nil
}
