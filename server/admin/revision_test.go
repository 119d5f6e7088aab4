package admin

import (
	"encoding/json"
	"testing"
)

func TestLargeRevisionsAreStringsInJSON(t *testing.T) {
	for r, want := range map[Revision]string{
		-1: "-1", 7: "7", 1 << 53: "9007199254740992", 1<<53 + 1: `"9007199254740993"`,
	} {
		p, err := json.Marshal(r)
		if err != nil || string(p) != want {
			t.Errorf("%d is %s, %v", r, p, err)
		}
		var back Revision
		if err := json.Unmarshal(p, &back); err != nil || back != r {
			t.Errorf("%s is %d, %v", p, back, err)
		}
	}
	var r Revision
	if err := json.Unmarshal([]byte(`"x"`), &r); err == nil {
		t.Error("letters were read")
	}
}
