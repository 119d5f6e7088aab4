package timeline

import (
	"encoding/json"
	"errors"
	"testing"
)

// TestCommandsOfUsersAreNotForOlderNodes, nor are those of the ends of leases, nor those that say on what somebody
// stands: these would apply them otherwise. The frame that holds them, the state that they were applied to, and what
// installs such a state have a version that they refuse. Nothing else has.
func TestCommandsOfUsersAreNotForOlderNodes(t *testing.T) {
	for level, version := range map[Level]byte{
		LevelFirst: FormatVersion, LevelUsers: usersVersion, LevelEnds: endsVersion, LevelBasis: basisVersion,
	} {
		m := NewMachine(&State{Region: "us"})
		if _, why, err := m.Reign(Reign{Epoch: 1, First: 1, Primary: "us"}); why != "" || err != nil {
			t.Fatal(why, err)
		}
		f := Frame{
			Epoch: 1, First: 1, Previous: m.Cursor().Chain, Commands: []Command{{Data: []byte("c")}}, Level: level,
		}
		p := AppendFrame([]byte("before"), &f)[len("before"):]
		got := Frame{Level: LevelNow - level} // of the frame before
		h, ok := ReadHeader(p)
		if err := DecodeFrame(p, &got); err != nil || got.Level != level || p[0] != version || !ok || h.Last() != 1 {
			t.Errorf("level %d: %+v in version %d, %v", level, got, p[0], err)
		}
		before, err := m.Record()
		if err != nil || before[0] != FormatVersion {
			t.Fatal(before[0], err)
		}
		if _, why, err := m.Frame(&got); why != "" || err != nil {
			t.Fatal(why, err)
		}
		record, err := m.Record()
		if err != nil || record[0] != version {
			t.Errorf("level %d: a state of version %d, %v", level, record[0], err)
		}
		s, err := DecodeRecord(record, m.Cursor())
		if err != nil || s.Commands != level || s.Level() != level {
			t.Fatalf("level %d: %+v, %v", level, s, err)
		}
		origin := &Origin{Cursor: s.Cursor, Reigns: s.Reigns, Commands: s.Commands}
		install, err := EncodeControl(&Control{Op: OpInstall, Checkpoint: "x", Origin: origin})
		if err != nil || install[0] != version {
			t.Errorf("level %d: an install of version %d, %v", level, install[0], err)
		}
		c, err := DecodeControl(install)
		if err != nil {
			t.Fatal(err)
		}
		other := NewMachine(&State{Region: "eu"})
		if outcome, why, err := other.Control(c); outcome != Applied || err != nil {
			t.Fatal(why, err)
		}
		if s := other.State(); s.Level() != level {
			t.Errorf("level %d: where it is installed %d", level, s.Level())
		}
	}
	for _, version := range []byte{usersVersion, endsVersion, basisVersion} {
		if _, err := KindOf([]byte{version, byte(KindReign)}); !errors.Is(err, ErrVersion) {
			t.Errorf("a reign of version %d: %v", version, err)
		}
		if _, err := KindOf([]byte{version + 1, byte(KindFrame)}); !errors.Is(err, ErrVersion) {
			t.Errorf("a frame of a later version than %d: %v", version, err)
		}
	}
}

// A region in which such commands were never applied has the very state that it had before.
func TestAStateWithoutUsersIsAsBefore(t *testing.T) {
	for _, v := range []any{State{Region: "us"}, Origin{}} {
		p, err := json.Marshal(v)
		var fields map[string]any
		if err = errors.Join(err, json.Unmarshal(p, &fields)); err != nil || fields["Commands"] != nil ||
			fields["commands"] != nil {
			t.Errorf("%s, %v", p, err)
		}
	}
	s := chartered("eu")
	if s.Commands = LevelUsers; s.Level() != LevelUsers {
		t.Errorf("with a ballot: level %d", s.Level())
	}
}
