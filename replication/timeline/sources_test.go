package timeline

import (
	"strings"
	"testing"
)

// Whom a region is to follow is in the roster, for nodes that know it alone; nobody is to follow himself, through
// others either, or who is not there.
func TestWhomRegionsAreToFollow(t *testing.T) {
	r := rosterOf(4, 2, "ap", "eu", "us")
	one := r.Sourced(4, "us", "ap", "eu")
	if one.Number != 3 || one.SourceOf("ap") != "eu" || one.SourceOf("eu") != "" || one.Fault() != "" ||
		r.SourceOf("ap") != "" || (*Roster)(nil).SourceOf("ap") != "" {
		t.Fatalf("%+v: %s, of %+v", one, one.Fault(), r)
	}
	if r.Level() != LevelRanks || one.Level() != LevelSources {
		t.Errorf("levels %d and %d", r.Level(), one.Level())
	}
	s := State{Region: "us", Roster: one}
	record, err := s.EncodeRecord()
	if err != nil || record[0] != sourceVersion {
		t.Errorf("a state of version %d, %v", record[0], err)
	}
	if back, err := DecodeRecord(record, Cursor{}); err != nil || back.Roster.SourceOf("ap") != "eu" {
		t.Errorf("read as %+v, %v", back, err)
	}
	p, err := EncodeControl(&Control{Op: OpRoster, Roster: one})
	if err != nil || p[0] != sourceVersion {
		t.Errorf("a control of version %d, %v", p[0], err)
	}
	if _, err := DecodeControl(p); err != nil {
		t.Error(err)
	}
	for why, c := range map[string]*Roster{
		"ap follows ap":                   r.Sourced(4, "us", "ap", "ap"),
		"eu follows ap":                   one.Sourced(4, "us", "eu", "ap"),
		"which is not in it":              r.Sourced(4, "us", "ap", "sa"),
		"ap follows eu follows us follow": one.Sourced(4, "us", "eu", "us").Sourced(4, "us", "us", "ap"),
	} {
		if !strings.Contains(c.Fault(), why) {
			t.Errorf("%q instead of %q", c.Fault(), why)
		}
	}
	// A region that goes is followed by nobody, and what the primary writes anew says the same.
	gone := one.Without(5, "us", "eu")
	if gone.SourceOf("ap") != "" || gone.Fault() != "" || gone.Level() != LevelRanks {
		t.Errorf("without eu: %+v, %s", gone, gone.Fault())
	}
	if left := one.Without(5, "us", "ap"); left.Level() != LevelRanks || left.Was("ap").Source != "" {
		t.Errorf("without ap: %+v", left)
	}
	if again := one.Stamped(6, "eu", nil); again.SourceOf("ap") != "eu" {
		t.Errorf("written anew: %+v", again)
	}
	if moved := one.With(6, "us", "ap", []string{"elsewhere"}); moved.SourceOf("ap") != "eu" {
		t.Errorf("with other addresses: %+v", moved)
	}
}
