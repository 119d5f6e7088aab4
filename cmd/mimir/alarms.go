package main

import (
	"cmp"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/server/admin"
)

// corrupt is the kind of an alarm that clients raise.
var corrupt = pb.AlarmType_CORRUPT.String()

// alarmReport is an alarm of the fleet and who raised it.
type alarmReport struct {
	admin.Alarm
	Node   string `json:"node,omitempty"` // "" if no node that is known has this identity
	Region string `json:"region,omitempty"`
}

// tellAlarms fills in the alarms, and warns of each. Where a region that takes writes told them, its word counts:
// another may not have heard yet that one was raised or disarmed. Where who speaks for a region did not tell, the other
// nodes of it do. Where nobody told, that is what is warned of: no alarm is known, and none is known not to be there.
func (f *fleetReport) tellAlarms() {
	var known []admin.Alarm
	told := len(f.Regions) == 0
	for _, r := range f.Regions {
		told = told || r.Revision >= 0 || len(r.nodes) > 0
		if r.TakesWrites && r.Revision >= 0 {
			known = r.alarms
			break
		}
		known = append(known, r.alarms...)
		for _, n := range r.nodes {
			if r.Revision < 0 {
				known = append(known, n.alarms...)
			}
		}
	}
	if !told {
		f.Warnings = append(f.Warnings, "whether there are alarms is not known: no node told of itself where it says "+
			"that it serves clients")
	}
	for _, one := range known {
		alarm := f.whose(one)
		if slices.Contains(f.Alarms, alarm) {
			continue
		}
		f.Alarms = append(f.Alarms, alarm)
		f.Warnings = append(f.Warnings, alarm.text())
	}
}

func (f *fleetReport) whose(one admin.Alarm) alarmReport {
	alarm := alarmReport{Alarm: one}
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			if n.ID == one.Member {
				alarm.Node, alarm.Region = n.Name, r.Name
			}
		}
	}
	return alarm
}

func (a *alarmReport) text() string {
	if a.Kind == admin.Follows {
		return "the fleet follows an etcd, and takes no writes of clients before mimir import finish"
	}
	who := fmt.Sprintf("member %x", a.Member) // as etcdctl alarm list has it, but in the digits of member list
	if a.Node != "" {
		who = fmt.Sprintf("%s of region %s", a.Node, a.Region)
	}
	switch a.Kind {
	case corrupt:
		return fmt.Sprintf("alarm %s of %s, raised by a client: no region takes any write, until etcdctl alarm disarm "+
			"was called", a.Kind, who)
	case admin.Differs:
		return fmt.Sprintf("%s holds something else than its region: it gives no copies, answers no reads, and leads "+
			"only while no other can; mimir verify says what, and mimir node rebuild %s mends it", who,
			cmp.Or(a.Node, "NAME"))
	case admin.Unsure:
		return fmt.Sprintf("%s holds something else than others, and it is unknown who is right: mimir verify says "+
			"what; see docs/operating.md, Are all nodes equal", who)
	}
	return fmt.Sprintf("alarm %s of %s: no region takes writes that need space, until there is room and "+
		"etcdctl alarm disarm was called", a.Kind, who)
}
