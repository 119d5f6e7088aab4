package replays

import (
	"bytes"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// Order is what is asked for.
type Order struct {
	Tail string `json:"tail"`
	// DryRun decides and changes nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Region and Epoch are those of the primary whose history the tail is to be done to, as who ordered it saw them:
	// without DryRun both are needed, and to another nothing is done.
	Region string            `json:"region,omitempty"`
	Epoch  replication.Epoch `json:"epoch,omitempty"`
}

// Tail is one of a fleet: the copy of it that is whole as far as any is, and who has one.
type Tail struct {
	replication.TailInfo
	Nodes []string `json:"nodes"`
}

// List are the tails of a fleet, and who could not be asked: those may have more.
type List struct {
	Tails  []Tail   `json:"tails"`
	Silent []string `json:"silent"`
}

// State is a replay as it is now, or as it ended.
type State struct {
	admin.Replay
	// Region and Epoch are those of the primary to whose history it is done, or of which a dry run asks.
	Region   string            `json:"region,omitempty"`
	Epoch    replication.Epoch `json:"epoch,omitempty"`
	Node     string            `json:"node"`              // that replays
	Doing    string            `json:"doing,omitempty"`   // now, in words
	From     string            `json:"from,omitempty"`    // the node of which the tail is read
	Commands uint64            `json:"commands"`          // of the tail; 0 if that is not known yet
	Looked   uint64            `json:"looked"`            // commands of the first pass
	Decided  uint64            `json:"decided"`           // and of the second
	Last     string            `json:"last,omitempty"`    // where the last command is that was decided
	Still    float64           `json:"stillSeconds"`      // for so long nothing moved
	Done     bool              `json:"done"`              // it came to its end
	Refused  bool              `json:"refused,omitempty"` // it did not begin
	Error    string            `json:"error,omitempty"`   // why it did not begin, or not come to its end
	Sums     Sums              `json:"sums"`              // so far
	Holes    string            `json:"holes,omitempty"`   // what the tail itself lacks
	Notes    []string          `json:"notes,omitempty"`
	Writes   map[Group][]Write `json:"writes,omitempty"` // told at the end: the first of each group
}

// Sums count commands by what became of them, or would.
type Sums struct {
	Applied     uint64 `json:"applied"`
	There       uint64 `json:"there"`
	Nothing     uint64 `json:"nothing"`
	Conflicts   uint64 `json:"conflicts"`
	NotReplayed uint64 `json:"notReplayed"`
	// Leased is how many of those that are applied, or conflict, grant, end or hang on a lease.
	Leased uint64 `json:"leased"`
}

// Group is one of the lists in which commands are told.
type Group string

// Groups. Of what was there already, or changed nothing, there is no list.
const (
	Applied     Group = "applied" // or would be
	Conflicts   Group = "conflicts"
	NotReplayed Group = "notReplayed"
)

// Bounds of what is kept.
const (
	MostWrites      = 100 // of a group
	MostKeys        = 5   // of a command
	MostDifferences = 5   // of a command
	MostBytes       = 120 // of a key or a value
)

// Write is what became of a command of a tail, or would.
type Write struct {
	Place string `json:"place"` // in the tail
	Op    string `json:"op"`
	Keys  []Text `json:"keys,omitempty"`
	More  int    `json:"more,omitempty"` // keys
	// Lease is what it grants or ends, or what it puts hangs on, as clients of etcd write it; "" if none.
	Lease       string       `json:"lease,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
}

// Text is as much of a key or a value as is kept, and how large it is.
type Text struct {
	Bytes []byte `json:"bytes"`
	Size  int    `json:"size"`
}

// TextOf cuts bytes. What it returns keeps nothing of them in memory.
func TextOf(b []byte) Text { return Text{bytes.Clone(b[:min(len(b), MostBytes)]), len(b)} }

// Difference is a key that is in the way of a command.
type Difference struct {
	Key    Text   `json:"key"`
	Reason string `json:"reason"`
	// Fork, Lost and Today are what it was at the fork, as the tail has it and now; nil where that is not known.
	Fork  *Value `json:"fork,omitempty"`
	Lost  *Value `json:"lost,omitempty"`
	Today *Value `json:"today,omitempty"`
}

// Value is a key at some time.
type Value struct {
	Exists bool   `json:"exists"`
	Value  Text   `json:"value"`
	Lease  string `json:"lease,omitempty"`
}

// Teller is told how a replay goes. It is used by one goroutine.
type Teller struct{ job *job }

// Doing says what is done now.
func (t Teller) Doing(what string) {
	t.job.change(func(s *State) { s.Doing = what })
}

// Note says what else is to be known of it.
func (t Teller) Note(text string) {
	t.job.change(func(s *State) { s.Notes = append(s.Notes, text) })
}

// Found says how many commands the tail has, and from whom it is read.
func (t Teller) Found(commands uint64, from string) {
	t.job.change(func(s *State) { s.Commands, s.From = commands, from })
}

// At says how many commands were looked at in the first pass, or decided in the second.
func (t Teller) At(pass int, commands uint64) {
	t.job.change(func(s *State) {
		if pass == 1 {
			s.Doing, s.Looked = "reads the tail, and what its keys are today", commands
			return
		}
		if s.Decided = commands; s.DryRun {
			s.Doing = "decides each write"
		} else {
			s.Doing = "decides each write, and does what still applies"
		}
	})
}

// Became says what became of a command; group is "" if it was there already (there) or changed nothing.
func (t Teller) Became(group Group, there bool, w *Write) {
	t.job.change(func(s *State) {
		s.Last = w.Place
		switch group {
		case Applied:
			s.Sums.Applied++
		case Conflicts:
			s.Sums.Conflicts++
		case NotReplayed:
			s.Sums.NotReplayed++
		default:
			if there {
				s.Sums.There++
			} else {
				s.Sums.Nothing++
			}
			return
		}
		if w.Lease != "" && group != NotReplayed {
			s.Sums.Leased++
		}
		if len(s.Writes[group]) < MostWrites {
			s.Writes[group] = append(s.Writes[group], *w)
		}
	})
}

// Holes says what the tail itself lacks.
func (t Teller) Holes(text string) { t.job.change(func(s *State) { s.Holes = text }) }

// outcome is how it ended, in a line for the log of events.
func (s *State) outcome() string {
	return fmt.Sprintf("%s into %s of epoch %d: %d applied, %d there already, %d conflict", s.Tail, s.Region, s.Epoch,
		s.Sums.Applied, s.Sums.There, s.Sums.Conflicts)
}

// sinceSeconds is how long ago a time is.
func sinceSeconds(t time.Time) float64 { return time.Since(t).Seconds() }
