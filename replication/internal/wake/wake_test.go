package wake

import "testing"

func TestManyNudgesAreOneAndNoneIsLost(t *testing.T) {
	s := New()
	for range 3 {
		s.Nudge()
	}
	<-s
	select {
	case <-s:
		t.Error("woken twice")
	default:
	}
	s.Nudge()
	<-s
}
