package clock

import (
	"testing"
	"time"
)

// A machine that was suspended has one clock that stood still; one whose time was set back has another.
func TestAgeByTheClockThatSaysMore(t *testing.T) {
	at := time.Now()
	suspended := at.Round(0).Add(time.Hour) // has no monotonic reading: the wall clock went on
	if got := Ago(at, suspended); got != time.Hour {
		t.Errorf("suspended for an hour: %v", got)
	}
	if got := Ago(at, at.Add(time.Minute)); got != time.Minute {
		t.Errorf("a minute later: %v", got)
	}
}
