package timeline

import "testing"

// What follows an etcd is not for older nodes, whatever else is said of the region: neither its state, nor what
// installs it elsewhere.
func TestAContentThatFollowsIsNotForOlderNodes(t *testing.T) {
	delayed, counted := State{Region: "us", Delay: &Delay{}}, chartered("us")
	counted.Ballot.Charter.Hold = &Hold{Counted: true}
	for what, s := range map[string]*State{"plain": {Region: "us"}, "delayed": &delayed, "with a hold": counted} {
		s.Commands = LevelFollow
		if p, err := s.EncodeRecord(); err != nil || p[0] != followVersion || s.Level() != LevelFollow {
			t.Errorf("%s: a state of version %d and level %d, %v", what, p[0], s.Level(), err)
		}
		c := &Control{Op: OpInstall, Checkpoint: "x", Origin: &Origin{Commands: s.Commands}}
		p, err := EncodeControl(c)
		if err != nil || p[0] != followVersion {
			t.Errorf("%s: an install of version %d, %v", what, p[0], err)
		}
		if _, err := DecodeControl(p); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
