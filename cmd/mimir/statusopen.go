package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/mimir-kv/mimir/backup/archive"
	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/partial"
	"github.com/mimir-kv/mimir/server/patrol"
	"github.com/mimir-kv/mimir/server/plain"
	"github.com/mimir-kv/mimir/server/trust"
)

// nodeReport is what a node says of itself: how it is, who may do what there, and its certificates.
type nodeReport struct {
	name, operators string
	open            []string
	idle            []string // settings that mean nothing
	auditProblem    string
	tls             *trust.Report
	archive         *archive.Status
	backup          *schedule.Report
	tellsPlaces     bool // of archive and backup, if its settings have them
	compare         *patrol.Report
	partial         []partial.Report

	health               *replication.HealthStatus
	version              string
	revision, storeBytes int64
	alarms               []admin.Alarm // of the fleet, as the node has them
}

// askNodes asks every node of a region that is reachable, and tells heard of each answer. Those that do not answer are
// silent, with why.
func askNodes(
	ctx context.Context, client *admin.Client, nodes []replication.NodeStatus, heard func(),
) (reports []nodeReport, silent []silentNode) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range nodes {
		if !n.Reachable {
			continue
		}
		wg.Go(func() {
			said, err := askNode(ctx, client, &n)
			if err == nil {
				heard()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				why := strings.TrimPrefix(plain.Text(whySilent(ctx, err)), admin.ErrNoEndpoint.Error()+": ")
				silent = append(silent, silentNode{n.Name, n.Region, why, admin.Outdated(err)})
				return
			}
			reports = append(reports, *said)
		})
	}
	wg.Wait()
	slices.SortFunc(reports, func(a, b nodeReport) int { return strings.Compare(a.name, b.name) })
	slices.SortFunc(silent, func(a, b silentNode) int { return strings.Compare(a.Node, b.Node) })
	return reports, silent
}

// askNode asks one of them. What another node says that answers in its place is not of it.
func askNode(ctx context.Context, client *admin.Client, n *replication.NodeStatus) (*nodeReport, error) {
	if len(n.ClientURLs) == 0 {
		return nil, errors.New("it did not say where it serves clients")
	}
	node, err := client.At(n.ClientURLs...).Node(ctx)
	if err == nil {
		err = itself(node, n.Name)
	}
	if err != nil {
		return nil, err
	}
	return &nodeReport{
		name: n.Name, operators: node.Operators, open: node.Open, idle: node.IdleSettings, tls: node.TLS,
		health: node.HealthStatus, version: node.Version, revision: int64(node.Revision),
		auditProblem: node.AuditProblem, storeBytes: node.StoreBytes, backup: node.Backup, archive: node.Archive,
		compare: node.Compare, partial: node.Partial, tellsPlaces: node.TellsPlaces, alarms: node.Alarms,
	}, nil
}

// tellOpen tells what is open to others: of a region if all its nodes that answered say so, else of a node.
func (f *fleetReport) tellOpen() {
	asked := false // some node asks for the operator's right
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			asked = asked || n.operators != "" && n.operators != admin.Everybody
		}
	}
	for _, r := range f.Regions {
		var said sayings
		for _, n := range r.nodes {
			open := n.open
			if asked && (n.operators == "" || n.operators == admin.Everybody) {
				open = append(slices.Clone(open), wayAround(n.operators))
				f.waysAround = append(f.waysAround, r.Name+" ("+n.name+"): "+wayAround(n.operators))
			}
			if n.auditProblem != "" {
				f.waysAround = append(f.waysAround,
					r.Name+" ("+n.name+"): audit-log cannot be written: "+n.auditProblem)
			}
			said.add(n.name, open)
		}
		f.Open = append(f.Open, said.told(&r)...)
	}
}

// tellIdle notes which settings mean nothing, likewise.
func (f *fleetReport) tellIdle() {
	for _, r := range f.Regions {
		var said sayings
		for _, n := range r.nodes {
			said.add(n.name, n.idle)
		}
		f.Notes = append(f.Notes, said.told(&r)...)
	}
}

// sayings are what nodes of a region say, in order.
type sayings struct {
	texts []string
	who   map[string][]string // by text
}

func (s *sayings) add(node string, texts []string) {
	if s.who == nil {
		s.who = map[string][]string{}
	}
	for _, text := range texts {
		if s.who[text] == nil {
			s.texts = append(s.texts, text)
		}
		s.who[text] = append(s.who[text], node)
	}
}

// told returns them with who says so: the region, if all its nodes that answered do.
func (s *sayings) told(r *regionReport) (list []string) {
	for _, text := range s.texts {
		place := r.Name
		if len(s.who[text]) < len(r.nodes) {
			place += " (" + strings.Join(s.who[text], ", ") + ")"
		}
		list = append(list, place+": "+text)
	}
	return list
}

// wayAround says what is wrong with a node that asks nobody for the operator's right while others do.
func wayAround(operators string) string {
	text := "nobody is asked for the operator's right there, and at other nodes everybody is: whoever is a client " +
		"there is an operator of the whole fleet; "
	if operators == "" {
		return text + "the version is too old for that: upgrade it"
	}
	return text + "set operator there too"
}
