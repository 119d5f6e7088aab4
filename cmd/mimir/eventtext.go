package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
)

// eventTeller writes events for people, one after the other: a charter is told by what differs from the one before.
type eventTeller struct{ charter *replication.Charter }

// line returns an event as a line.
func (t *eventTeller) line(e *events.Told) string {
	mark := " "
	switch {
	case e.Learned:
		mark = "?"
	case e.OutOfTime:
		mark = "~"
	}
	var by []string
	for _, s := range e.By {
		if s.Learned == e.Learned {
			by = append(by, s.Node)
		}
	}
	text := t.text(&e.Event)
	if e.Learned {
		text += ", by then"
	}
	return fmt.Sprintf("%s%s %s (%s)", e.At.Local().Format("2006-01-02 15:04:05.000"), mark, text,
		strings.Join(by, ", "))
}

func (t *eventTeller) text(e *replication.Event) string {
	switch e.Kind {
	case replication.EventEpoch:
		return epochText(e)
	case replication.EventCharter:
		before := t.charter
		t.charter = e.Charter
		return charterText(before, e.Charter)
	case replication.EventAlarm:
		return alarmText(e.Alarm)
	case replication.EventOrdered:
		return orderText(e)
	case replication.EventTookOver:
		return tookOverText(e)
	}
	if text := regionText(e); text != "" {
		return text
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Region, e.Kind, e.Text)) // of a later version
}

// regionText is of what a region's log decided, or a node of it saw; empty if it is nothing known.
func regionText(e *replication.Event) string {
	switch e.Kind {
	case replication.EventSealed:
		return fmt.Sprintf("%s takes no writes, to hand over to %s: its epoch %d ends at position %d", e.Region,
			e.Other, e.Epoch, e.Position)
	case replication.EventUnsealed:
		return fmt.Sprintf("%s takes writes again: the switchover to %s came to nothing", e.Region, e.Other)
	case replication.EventRefused:
		return fmt.Sprintf("%s promised not to begin by switchover %d of epoch %d", e.Region, e.Handoff, e.Epoch)
	case replication.EventVote:
		text := fmt.Sprintf("the vote of %s is for %s in epoch %d", e.Region, e.Other, e.Epoch)
		if e.ByItself {
			text += ": it takes over by itself"
		}
		return text
	case replication.EventYielded:
		return fmt.Sprintf("%s gave way to epoch %d of %s", e.Region, e.Epoch, e.Other)
	case replication.EventDiverged:
		return fmt.Sprintf("%s has %s behind position %d that epoch %d of %s has not: it saves them as a tail and "+
			"rejoins", e.Region, commandsText(e.Tail), e.Position, e.Epoch, e.Other)
	case replication.EventKept:
		return fmt.Sprintf("%s goes on with %s that it had given up, by force", e.Region, commandsText(e.Tail))
	case replication.EventInstalled:
		return installedText(e)
	case replication.EventSlotLost:
		return fmt.Sprintf("%s keeps no log for %s any more, which has acknowledged up to position %d: it has to "+
			"bootstrap", e.Region, e.Other, e.Position)
	case replication.EventSlotBack:
		return fmt.Sprintf("%s keeps log for %s again, from position %d on", e.Region, e.Other, e.Position)
	case replication.EventLeads:
		return fmt.Sprintf("leads %s, in term %d", e.Region, e.Term)
	case replication.EventStepped:
		return fmt.Sprintf("does not lead %s any more, as in term %d", e.Region, e.Term)
	case replication.EventFenced:
		return fmt.Sprintf("%s is fenced: it has no lease, and acknowledges nothing", e.Region)
	case replication.EventUnfenced:
		return fmt.Sprintf("%s has the lease of the primary in epoch %d", e.Region, e.Epoch)
	case replication.EventFailback:
		return fmt.Sprintf("%s hands over to %s, which has a higher priority, by itself", e.Region, e.Other)
	case replication.EventStarted:
		return "started, version " + e.Text
	case replication.EventGap:
		return "events are missing: " + e.Text
	}
	return ""
}

// alarmText tells of an alarm, which members raise about themselves, but for what others found out about them.
func alarmText(a *replication.AlarmEvent) string {
	by, of := "by", "of"
	if a.Kind == admin.Differs || a.Kind == admin.Unsure {
		by, of = "about", "about"
	}
	if a.Raised {
		return fmt.Sprintf("alarm %s is raised %s member %x", a.Kind, by, a.Member)
	}
	return fmt.Sprintf("alarm %s %s member %x is cleared", a.Kind, of, a.Member)
}

func epochText(e *replication.Event) string {
	text := fmt.Sprintf("epoch %d: %s is primary", e.Epoch, e.Region)
	switch {
	case e.Handoff != 0:
		text += fmt.Sprintf(", by switchover %d from %s; nothing was lost", e.Handoff, e.Other)
	case e.Other == "":
		text += ", the first one"
	case e.Lossy:
		text += fmt.Sprintf(", by a failover from %s behind position %d; what %s had more may be lost", e.Other,
			e.Position, e.Other)
	default:
		text += fmt.Sprintf(", after %s, behind position %d", e.Other, e.Position)
	}
	return text
}

func tookOverText(e *replication.Event) string {
	text := fmt.Sprintf("%s took over by votes, in epoch %d", e.Region, e.Epoch)
	if e.Other == e.Region {
		text = fmt.Sprintf("%s goes on by votes, in epoch %d", e.Region, e.Epoch)
	}
	if e.Silent > 0 {
		text += fmt.Sprintf(", since %s was silent for %s", e.Other, e.Silent.Round(100*time.Millisecond))
	}
	switch {
	case e.AtMostLost != nil:
		text += fmt.Sprintf(": at most %s lost", commandsText(*e.AtMostLost))
	case e.Lossy:
		text += ": how many commands are lost at most, the voters do not know"
	}
	return text
}

func orderText(e *replication.Event) string {
	o := e.Order
	text := "ordered: " + strings.TrimSpace(o.Op+" "+o.What)
	if o.By != "" {
		text += ", by " + o.By
	}
	if o.Err != "" {
		return text + "; it came to nothing: " + o.Err
	}
	if e.Epoch != 0 {
		text += fmt.Sprintf("; done, in epoch %d", e.Epoch)
	}
	if o.Pause > 0 {
		text += fmt.Sprintf("; writes paused for %s", o.Pause.Round(time.Millisecond))
	}
	if o.Behind != nil && *o.Behind > 0 {
		text += fmt.Sprintf("; %s known to be missing", commandsText(*o.Behind))
	}
	if o.Loss != "" {
		text += "; " + o.Loss
	}
	return text
}

func installedText(e *replication.Event) string {
	switch {
	case e.Back:
		return fmt.Sprintf("%s went back to position %d, where its history parted, and rejoins; %s in its rescue files",
			e.Region, e.Position, commandsText(e.Tail))
	case e.Tail > 0:
		return fmt.Sprintf("%s took a copy of the fleet's state, at position %d, and rejoins; %s in its rescue files",
			e.Region, e.Position, commandsText(e.Tail))
	default:
		return fmt.Sprintf("%s bootstrapped: it took a copy of another region's state, at position %d", e.Region,
			e.Position)
	}
}

func commandsText(n uint64) string {
	if n == 1 {
		return "1 command"
	}
	return fmt.Sprintf("%d commands", n)
}

// charterText says what a charter changes.
func charterText(before, c *replication.Charter) string {
	text := fmt.Sprintf("charter %d of epoch %d: ", c.Number, c.Epoch)
	voters := func(c *replication.Charter) (ids []string) {
		for _, v := range c.Voters {
			ids = append(ids, v.ID)
		}
		return ids
	}
	var list []string
	say := func(differs bool, format string, args ...any) {
		if differs {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	if before == nil {
		before = &replication.Charter{}
	}
	say(!slices.Equal(voters(before), voters(c)), "%s vote", strings.Join(voters(c), ", "))
	say(before.Lease != c.Lease, "lease %s", c.Lease)
	say(before.MaxLoss != c.MaxLoss && c.MaxLoss != replication.AnyLoss, "a failover may lose %d commands", c.MaxLoss)
	say(before.MaxLoss != c.MaxLoss && c.MaxLoss == replication.AnyLoss, "a failover may lose any number of commands")
	say(!before.Automatic && c.Automatic, "the primary moves by itself")
	say(before.Automatic && !c.Automatic, "the primary does not move by itself any more")
	say(c.Paused != "" && before.Paused != c.Paused, "that it does is paused: %s", c.Paused)
	say(c.Paused == "" && before.Paused != "", "that it does is resumed")
	say(c.Hold != nil && !before.Hold.Same(c.Hold), "the primary is held for %s", holdText(c))
	say(c.Hold == nil && before.Hold != nil, "the hold is over")
	say(before.Failback != c.Failback, "failback after %s", c.Failback)
	if len(list) == 0 {
		list = append(list, "written anew")
	}
	return text + strings.Join(list, "; ")
}

func holdText(c *replication.Charter) string {
	if c.Hold == nil {
		return ""
	}
	return fmt.Sprintf("%s, until %s", c.Hold.For, c.Hold.Until.Local().Format("2006-01-02 15:04:05"))
}
