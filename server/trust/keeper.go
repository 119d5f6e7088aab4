package trust

import (
	"context"
	"crypto/x509"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// DefaultEvery is how often files are looked at.
const DefaultEvery = 5 * time.Second

// DefaultGrace is how long a connection that has to end is given for what it does.
const DefaultGrace = 5 * time.Second

// Block names the files that secure a listener or a dialer, PEM all of them. What is empty is not there.
type Block struct {
	Name              string // as the settings have it: client-tls
	Cert, Key         string // the certificate with its chain, and its key
	CA                string // the authorities of the other side
	CRL               string // which of their certificates they have revoked: PEM, or one list of DER; needs CA
	RequireClientCert bool   // a listener refuses who shows no certificate that CA signed
	// Admit says why a listener refuses a certificate that CA signed; nil: none of them. Connections that stand are not
	// asked again.
	Admit func(*x509.Certificate) error
}

// enabled reports whether any file is named.
func (b Block) enabled() bool { return b.Cert != "" || b.Key != "" || b.CA != "" }

// Options of a Keeper.
type Options struct {
	// MinVersion is the least version of TLS; 0 for that of TLS 1.2. CipherSuites are those of TLS 1.2; none: Go's.
	MinVersion   uint16
	MaxVersion   uint16 // the greatest; 0: Go's
	CipherSuites []uint16
	// Every is how often the files are looked at. Default DefaultEvery.
	Every time.Duration
	// Grace is how long a connection that has to end is given for what it does. Default DefaultGrace.
	Grace  time.Duration
	Logger *slog.Logger
}

// Keeper looks after the files of all listeners and dialers of a process. It is safe for concurrent use.
type Keeper struct {
	options Options
	hang    time.Duration // hangTime

	looking sync.Mutex // held by one look at a time

	mu      sync.Mutex
	sources []*source
	ports   []*port
}

// New returns a Keeper of no files.
func New(o Options) *Keeper {
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Keeper{options: o, hang: hangTime}
}

// Run looks at the files until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	ticker := time.NewTicker(k.options.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			k.look(time.Now())
		}
	}
}

// hangTime is after what time it is not waited any longer for a file to be read.
const hangTime = 5 * time.Second

// look takes what the files have now, and ends what stands under an authority that is gone, or was revoked. While it
// reads them nobody waits for it. Those whose disk hangs keep what they had, and are taken by the look that finds them
// read; the others do not wait for them.
func (k *Keeper) look(now time.Time) {
	k.looking.Lock()
	defer k.looking.Unlock()
	k.mu.Lock()
	sources := slices.Clone(k.sources)
	k.mu.Unlock()
	for _, s := range sources {
		s.begin()
	}
	late, cancel := context.WithTimeout(context.Background(), k.hang)
	defer cancel()
	read := map[*source]found{}
	for _, s := range sources {
		if files, ok := s.wait(late.Done(), k.options.Logger); ok {
			read[s] = files
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	changed := map[*source]bool{}
	for s, files := range read {
		changed[s] = s.look(files, now, k.options.Logger)
	}
	for _, p := range k.ports {
		p.refresh(changed, now, k.options.Logger)
	}
}

// source returns what keeps these files, one for all who use them.
func (k *Keeper) source(block, kind string, parse parser, files ...string) (*source, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.sources {
		if s.block == block && s.kind == kind {
			return s, nil
		}
	}
	s := &source{block: block, kind: kind, files: files, parse: parse}
	if err := s.start(time.Now(), k.options.Logger); err != nil {
		return nil, err
	}
	k.sources = append(k.sources, s)
	return s, nil
}

// port returns a port of the blocks' files.
func (k *Keeper) port(blocks []Block) (*port, error) {
	p := &port{grace: k.options.Grace, guests: map[Guest]standing{}}
	for _, b := range blocks {
		if b.Cert != "" {
			s, err := k.source(b.Name, kindCertificate, parsePair, b.Cert, b.Key)
			if err != nil {
				return nil, err
			}
			p.pairs = append(p.pairs, s)
		}
		if b.CA != "" {
			s, err := k.source(b.Name, kindAuthority, parseAuthorities, b.CA)
			if err != nil {
				return nil, err
			}
			p.bundles = append(p.bundles, s)
		}
		if b.CRL != "" {
			s, err := k.source(b.Name, kindRevoked, parseRevoked, b.CRL, b.CA)
			if err != nil {
				return nil, err
			}
			p.revoked = append(p.revoked, s)
		}
	}
	p.pool = p.gather()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ports = append(k.ports, p)
	return p, nil
}
