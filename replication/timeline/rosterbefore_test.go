package timeline

import (
	"encoding/json"
	"strings"
	"testing"
)

// What nodes of LevelRoster have in their logs, in the records of their storages, and say in their reports.
const (
	rosterBefore = `{"epoch":1,"number":2,"by":"us","regions":[` +
		`{"name":"ap","addrs":["ap-1"],"place":3,"since":2},{"name":"us","addrs":["us-1"],"place":2,"since":0}],` +
		`"former":[{"name":"eu","addrs":["eu-1"],"place":1,"since":0}]}`
	controlBefore = "\x0a\x03\x00\x00" + `{"op":"roster","to":"us","roster":` + rosterBefore + `}`
	recordBefore  = "\x0a" + `{"Region":"us","Reigns":[{"Epoch":1,"First":1,"Primary":"us","Lossy":false,"Handoff":0,` +
		`"Nonce":"00000000000000000000000000000000",` +
		`"Previous":"0000000000000000000000000000000000000000000000000000000000000000"}],` +
		`"Roster":` + rosterBefore + `}`
)

// TestARosterOfTheVersionBefore is read, applied, and written again as that version has it, until the primary writes
// one that is ranked, which is newer: what a node of that version took of it is older, too.
func TestARosterOfTheVersionBefore(t *testing.T) {
	c, err := DecodeControl([]byte(controlBefore))
	if err != nil {
		t.Fatal(err)
	}
	reign := Reign{Epoch: 1, First: 1, Primary: "us"}
	m := NewMachine(&State{Region: "us", Cursor: Cursor{Epoch: 1}, Reigns: []Reign{reign}})
	if outcome, why, err := m.Control(c); outcome != Applied || err != nil {
		t.Fatalf("%v, %s, %v", outcome, why, err)
	}
	s := m.State()
	if h := s.Roster.Home("ap"); h.Since != 2 || h.Came != (RosterMark{}) || s.Roster.Was("eu") == nil {
		t.Errorf("%+v", s.Roster)
	}
	if record, err := m.Record(); err != nil || record[0] != recordBefore[0] ||
		!strings.Contains(string(record), rosterBefore) {
		t.Errorf("%s, %v", record, err)
	}
	if p, err := EncodeControl(c); err != nil || string(p) != controlBefore {
		t.Errorf("%s, %v", p, err)
	}
	old, next := s.Roster, s.Roster.With(1, "us", "sa", []string{"sa-1"})
	if next.Ranked || next.Home("sa").Came != (RosterMark{}) || next.Level() != LevelRoster {
		t.Errorf("%+v", next)
	}
	ranked := next.Stamped(1, "us", nil)
	if !ranked.Ranked || !next.Before(ranked) || ranked.Before(next) || ranked.Level() != LevelRanks ||
		ranked.Lacks("ap", old) || ranked.With(1, "us", "na", []string{"na-1"}).Lacks("sa", ranked) {
		t.Errorf("%+v", ranked)
	}
	// A node of the version before takes what it heard without what it does not know.
	stripped := *ranked
	stripped.Ranked = false
	if !next.Before(ranked) || !stripped.Before(ranked) {
		t.Errorf("%+v is not older than %+v", stripped.Mark(), ranked.Mark())
	}
}

// TestARecordOfTheVersionBefore is one of a region with a roster.
func TestARecordOfTheVersionBefore(t *testing.T) {
	s, err := DecodeRecord([]byte(recordBefore), Cursor{Epoch: 1, Position: 4})
	if err != nil {
		t.Fatal(err)
	}
	if s.Level() != LevelRoster || s.Roster.Home("ap").Since != 2 || s.Roster.Was("eu").Place != 1 {
		t.Errorf("%+v", s.Roster)
	}
}

// TestNodesOfTheVersionBeforeJudgeAlike what is not ranked: both are in one region while it is upgraded.
func TestNodesOfTheVersionBeforeJudgeAlike(t *testing.T) {
	before := func(e Epoch, number uint64, by string, names ...string) *Roster {
		r := rosterOf(e, number, names...)
		r.By, r.Ranked = by, false
		return r
	}
	reigns := []Reign{{Epoch: 1, First: 1, Primary: "us"}, {Epoch: 2, First: 4, Primary: "eu"},
		{Epoch: 3, First: 7, Primary: "us"}}
	s := State{Region: "ap", Cursor: Cursor{Epoch: 3, Position: 9}, Reigns: reigns,
		Roster: before(1, 2, "us", "ap", "eu", "us")}
	late := before(9, 1, "us", "us")
	late.Regions[0].Since = 2
	primary := s
	primary.Region, primary.Roster = "us", before(3, 2, "us", "ap", "eu", "us")
	for name, c := range map[string]struct {
		s    State
		c    Control
		want Outcome
	}{
		"by number first":                   {s, Control{Roster: before(1, 3, "ap", "ap", "us")}, Applied},
		"then the later name":               {s, Control{Roster: before(1, 2, "ap", "ap", "us")}, Skipped},
		"looks at the highest claim alone":  {s, Control{Roster: before(2, 9, "ap", "ap", "us")}, Applied},
		"which outranks by its epoch alone": {s, Control{Roster: before(3, 1, "ap", "ap")}, Applied},
		"older than that":                   {s, Control{Roster: before(2, 9, "ap", "ap")}, Refused},
		"came with a later one by number":   {s, Control{Roster: late}, Refused},
		"a seal for who is not in it":       {primary, Control{Op: OpSeal, Epoch: 3, Handoff: 1, To: "sa"}, Applied},
	} {
		if c.c.Op == "" {
			c.c.Op = OpRoster
		}
		if outcome, why, err := NewMachine(&c.s).Control(&c.c); outcome != c.want || err != nil {
			t.Errorf("%s: %v, %q, %v", name, outcome, why, err)
		}
	}
	// What the new fields are called does not concern that version.
	var h struct {
		Since uint64 `json:"since"`
	}
	came := rosterOf(2, 4, "us").With(2, "us", "eu", []string{"eu-1"}).Home("eu")
	if p, err := json.Marshal(came); err != nil || json.Unmarshal(p, &h) != nil || h.Since != 5 {
		t.Errorf("%s, %v", p, err)
	}
}
