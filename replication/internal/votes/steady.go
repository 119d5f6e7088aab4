package votes

import (
	"strings"
	"time"
)

// steady tells what goes on to be said: at once when it is new, then once a minute, and how often it was said between.
// Numbers do not make it new: they count down, or are ports.
type steady struct {
	said map[string]*saying
}

type saying struct {
	at    time.Duration // when it was told last
	times int           // since
}

const tellAgain = time.Minute

// tell reports whether text is to be told at the reading now, and how often it came since it was told.
func (s *steady) tell(now time.Duration, text string) (times int, tell bool) {
	key := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '.' {
			return -1
		}
		return r
	}, text)
	for k, old := range s.said {
		if k != key && now-old.at >= tellAgain {
			delete(s.said, k)
		}
	}
	old := s.said[key]
	if old == nil {
		if s.said == nil {
			s.said = map[string]*saying{}
		}
		s.said[key] = &saying{at: now}
		return 1, true
	}
	if old.times++; now-old.at < tellAgain {
		return old.times, false
	}
	times, old.at, old.times = old.times, now, 0
	return times, true
}

// over says that what was told is over: if it comes again, it is new.
func (s *steady) over() { clear(s.said) }
