package grpctransport

// Renewer is what New returns, for who changes what connections are secured with.
type Renewer interface {
	// Renew has all that is opened from now on go over new connections, and tells the streams on those of before that
	// they leave ([transport.Leaving]). The caller calls end when those have had the time to do so.
	Renew() (end func())
}

// Renew implements Renewer.
func (n *node) Renew() (end func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.peers
	if n.closed {
		return func() {}
	}
	n.peers = make(map[string]*peer)
	for _, p := range old {
		n.retired[p] = true
		close(p.leaving)
	}
	return func() {
		n.mu.Lock()
		for _, p := range old {
			delete(n.retired, p)
		}
		n.mu.Unlock()
		for _, p := range old {
			p.close()
		}
	}
}
