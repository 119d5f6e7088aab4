package votes

import (
	"fmt"
	"testing"
	"time"
)

// TestWhatGoesOnIsToldOnceAMinute, whatever numbers are in it, and also if two things take turns; what is new at once.
func TestWhatGoesOnIsToldOnceAMinute(t *testing.T) {
	var s steady
	told := ""
	for i := range 600 { // five minutes
		now := time.Duration(i) * time.Second / 2
		text := fmt.Sprintf("w supports us for %d.%ds", 600-i, i%10)
		if i%2 == 1 {
			text = fmt.Sprintf("dial 127.0.0.1:%d", 40000+i)
		}
		if i == 301 {
			text = "another"
		}
		if times, tell := s.tell(now, text); tell {
			told += fmt.Sprintf("%v %c %d\n", now, text[0], times)
		}
	}
	const want = "0s w 1\n500ms d 1\n1m0s w 60\n1m0.5s d 60\n2m0s w 60\n2m0.5s d 60\n" +
		"2m30.5s a 1\n3m0s w 60\n3m0.5s d 59\n4m0s w 60\n4m0.5s d 60\n"
	if told != want {
		t.Errorf("told\n%swant\n%s", told, want)
	}
	s.over()
	if times, tell := s.tell(5*time.Minute, "w supports us for 1s"); times != 1 || !tell {
		t.Errorf("when it comes again: %d, %t", times, tell)
	}
}
