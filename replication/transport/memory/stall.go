package memory

import "time"

// awaitArrival waits until something sent to e now, and taking d, has arrived. It is false if e ended before.
func (s *stream) awaitArrival(e *end, d time.Duration) bool {
	if d > 0 {
		t := s.net.clock.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C():
		case <-e.ctx.Done():
			return false
		}
	}
	for {
		s.mu.Lock()
		stalled, moved := e.in.stalled, s.moved
		s.mu.Unlock()
		if !stalled {
			return e.ctx.Err() == nil
		}
		select {
		case <-moved:
		case <-e.ctx.Done():
			return false
		}
	}
}

// setStalled stalls, or lets go on, what is on its way to the server and back; net.mu is held.
func (s *stream) setStalled(there, back bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.net.clock.Now()
	toServer, toOpener := s.server.in.setStalled(there, now), s.opener.in.setStalled(back, now)
	if !toServer && !toOpener {
		return
	}
	close(s.moved)
	s.moved = make(chan struct{})
	if (there || back) && !s.watched {
		s.watched = true
		go s.watch(s.net.detection)
	}
}

// setStalled reports whether anything changed.
func (p *pipe) setStalled(stalled bool, now time.Time) bool {
	if p.stalled == stalled {
		return false
	}
	p.stalled, p.arrived = stalled, 0
	for i := range p.queue {
		switch it := &p.queue[i]; {
		case stalled && !it.at.After(now):
			p.arrived++
		case !stalled && it.at.Before(now):
			it.at = now
		}
	}
	return true
}

// watch breaks the stream if it is stalled for too long.
func (s *stream) watch(detection time.Duration) {
	t := s.net.clock.NewTimer(detection)
	defer t.Stop()
	for {
		s.mu.Lock()
		moved := s.moved
		if !s.opener.in.stalled && !s.server.in.stalled {
			s.watched = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		select {
		case <-moved:
		case <-s.gone:
			return
		case <-t.C():
			s.abort(errSilent)
			return
		}
	}
}
