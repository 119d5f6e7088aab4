package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Guest is a connection that can be asked to leave.
type Guest interface {
	net.Conn
	// OnClose has f called when the connection is closed, at once if it is.
	OnClose(f func())
	// Dismiss ends the connection, after a farewell where it knows one, and within so much time.
	Dismiss(within time.Duration)
}

// port is a listener or a dialer: what it shows, what it trusts, and the connections that stand because of it.
type port struct {
	pairs, bundles, revoked []*source

	usage   x509.ExtKeyUsage // of the other side's certificates
	changed func()           // to be told of it; nil: nobody
	grace   time.Duration

	mu     sync.Mutex
	pool   *x509.CertPool // nil: the machine's
	guests map[Guest]standing
}

// standing is what a connection was taken for.
type standing struct {
	shown []*x509.Certificate // by the other side
	since time.Time
}

// gather makes a pool of all authorities.
func (p *port) gather() *x509.CertPool {
	var pool *x509.CertPool
	for _, b := range p.bundles {
		for _, c := range b.current().all {
			if pool == nil {
				pool = x509.NewCertPool()
			}
			pool.AddCert(c)
		}
	}
	return pool
}

func (p *port) trusted() *x509.CertPool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pool
}

// admit notes a connection whose other side showed what pool trusted. It fails if that is trusted no longer.
func (p *port) admit(g Guest, shown []*x509.Certificate, pool *x509.CertPool) error {
	now := time.Now()
	s := standing{shown, now}
	p.mu.Lock()
	if p.pool != pool && !p.stands(s, now) {
		p.mu.Unlock()
		return errors.New("the certificate was revoked, or its authority taken away, during the handshake")
	}
	p.guests[g] = s
	p.mu.Unlock()
	g.OnClose(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.guests, g)
	})
	return nil
}

// stands reports whether what a connection was taken for is trusted still. That a certificate has expired meanwhile, or
// that its authority was renewed, makes no difference. mu is held.
func (p *port) stands(s standing, now time.Time) bool {
	o := x509.VerifyOptions{Roots: p.pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{p.usage}}
	for _, c := range s.shown[1:] {
		o.Intermediates.AddCert(c)
	}
	for _, o.CurrentTime = range []time.Time{now, s.since} {
		if chains, err := s.shown[0].Verify(o); err == nil && p.unrevoked(chains) == nil {
			return true
		}
	}
	return false
}

// refresh uses what the files have now, and ends what stands under nothing of it.
func (p *port) refresh(changed map[*source]bool, now time.Time, log *slog.Logger) {
	some := func(list []*source) bool {
		return slices.ContainsFunc(list, func(s *source) bool { return changed[s] })
	}
	trust := some(p.bundles) || some(p.revoked)
	if trust {
		p.exchange(now, log)
	}
	if p.changed != nil && (trust || some(p.pairs)) {
		p.changed()
	}
}

// exchange trusts the authorities of now, but for what they have revoked by now.
func (p *port) exchange(now time.Time, log *slog.Logger) {
	fresh := p.gather()
	var leave []Guest
	p.mu.Lock()
	p.pool = fresh
	verdicts := map[string]bool{} // by certificate: many connections may have one
	for g, s := range p.guests {
		stands, known := verdicts[string(s.shown[0].Raw)]
		if !known {
			stands = p.stands(s, now)
			verdicts[string(s.shown[0].Raw)] = stands
		}
		if !stands {
			leave = append(leave, g)
		}
	}
	p.mu.Unlock()
	if len(leave) == 0 {
		return
	}
	log.Warn("connections end: their certificates were revoked, or the authority of them taken away",
		"block", p.bundles[0].block,
		"connections", len(leave), "within", p.grace)
	for _, g := range leave {
		g.Dismiss(p.grace)
	}
}

// shows returns the first certificate that the other side takes.
func (p *port) shows(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
	for _, s := range p.pairs {
		if pair := s.current().pair; request.SupportsCertificate(pair) == nil {
			return pair, nil
		}
	}
	return &tls.Certificate{}, nil
}
