package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication"
)

// tellNext fills in which versions run, and the commands that help with what is wrong, the most pressing first.
func (f *fleetReport) tellNext() {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.version == "" {
				continue
			}
			if f.Versions == nil {
				f.Versions = map[string][]string{}
			}
			f.Versions[n.version] = append(f.Versions[n.version], n.name)
		}
	}
	next := func(command, why string) { f.Next = append(f.Next, command+nextWhy+why) }
	primary := f.find(f.Primary)
	voting, known := f.votes()
	switch {
	case len(f.TakeWrites) > 1:
		next("mimir events --since 1h", "who made a second region primary, and when")
	case f.Primary != "" && primary != nil && !primary.Heard && voting:
		next("mimir fleet show", "who votes, and why nobody takes over")
	case f.Primary != "" && primary != nil && !primary.Heard && f.hears() != nil:
		by := f.hears()
		next("mimir status"+endpointsOf(by), by.Name+" heard "+f.Primary+" within seconds, which "+f.Asked+
			" does not hear: ask again before you fail over")
	case f.Primary != "" && primary != nil && !primary.Heard:
		f.Next = append(f.Next, byHand(f, known)...)
	}
	for _, r := range f.Regions {
		if r.Sealed {
			next("mimir switchover --abort", "takes the switchover of "+r.Name+" back")
		}
	}
	if slices.ContainsFunc(f.Regions, func(r regionReport) bool { return r.Role == replication.RoleDiverged }) {
		next("mimir tail list", "what a failover cut off, once it is saved")
	}
	if slices.ContainsFunc(f.Regions, func(r regionReport) bool { return len(r.Missing) > 0 }) {
		next("mimir status --verbose", "each node")
	}
	if f.troubled() && len(f.TakeWrites) <= 1 {
		next("mimir events --since 1h", "what led there")
	}
}

// byHand are the commands where the primary is gone and nobody says that votes are taken, which may not be known.
func byHand(f *fleetReport, known bool) (list []string) {
	if by := untold(f); !known {
		list = append(list, "mimir fleet show"+endpointsOf(by)+nextWhy+"whether votes are taken is not known, since "+
			"no node of "+by.Name+" told: where they are, the primary moves by itself")
	}
	if to := f.furthest(); to != "" {
		list = append(list, "mimir failover --to "+to+nextWhy+"says what would be lost; with --force it does it")
	}
	return list
}

func (f *fleetReport) find(name string) *regionReport {
	for i := range f.Regions {
		if f.Regions[i].Name == name {
			return &f.Regions[i]
		}
	}
	return nil
}

// hears returns a region that follows the primary itself, and heard lately where that is, nil if none does.
func (f *fleetReport) hears() *regionReport {
	for i := range f.Regions {
		r := &f.Regions[i]
		if r.Role == replication.RoleSecondary && r.Source == f.Primary && r.Connected && !r.Lag.AtLeast &&
			r.Lag.Seconds >= 0 {
			return r
		}
	}
	return nil
}

// endpointsOf returns the flag by which nodes of a region are asked, as far as it is known where they are.
func endpointsOf(r *regionReport) string {
	var list []string
	for _, n := range r.RegionStatus.Nodes {
		if n.OtherLife {
			continue // it does not know of this fleet what the others do
		}
		for _, url := range n.ClientURLs {
			list = append(list, strings.TrimPrefix(url, "http://"))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " --endpoints " + strings.Join(list, ",")
}

// furthest returns which region that answers is furthest, "" if none does.
func (f *fleetReport) furthest() (name string) {
	var best *regionReport
	for i := range f.Regions {
		r := &f.Regions[i]
		if r.Role == replication.RoleSecondary && r.Late == nil && (best == nil || r.Epoch > best.Epoch ||
			r.Epoch == best.Epoch && r.Position > best.Position) {
			best, name = r, r.Name
		}
	}
	return name
}

// troubled reports whether something is wrong with a region, or the fleet.
func (f *fleetReport) troubled() bool {
	return len(f.Warnings) > 0 || f.Primary == "" ||
		slices.ContainsFunc(f.Regions, func(r regionReport) bool { return r.problems() != "" })
}

// printWrong writes what is wrong with regions, and the commands that help.
func (f *fleetReport) printWrong(w io.Writer) {
	for _, r := range f.Regions {
		if text := r.problems(); text != "" {
			fmt.Fprintf(w, "%s: %s\n", r.Name, text)
		}
	}
	for _, text := range f.Next {
		fmt.Fprintln(w, "NEXT:", text)
	}
}

// printVersions says which versions run, if there are several.
func (f *fleetReport) printVersions(w io.Writer) {
	if len(f.Versions) < 2 {
		return
	}
	var list []string
	for _, version := range slices.Sorted(maps.Keys(f.Versions)) {
		list = append(list, version+" on "+strings.Join(f.Versions[version], ", "))
	}
	fmt.Fprintln(w, "versions:", strings.Join(list, "; "))
}
