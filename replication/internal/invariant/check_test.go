package invariant

import (
	"errors"
	"testing"
)

func TestABrokenPropertyPanicsWhereItIsChecked(t *testing.T) {
	asked := false
	Check("room", func() error { asked = true; return nil })
	if asked != Enabled {
		t.Errorf("asked %t, enabled %t", asked, Enabled)
	}
	defer func() {
		want := any(nil)
		if Enabled {
			want = "room: P1: broken"
		}
		if got := recover(); got != want {
			t.Errorf("panic %v, want %v", got, want)
		}
	}()
	Check("room", func() error { return errors.New("P1: broken") })
}
