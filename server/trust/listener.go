package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
)

// base returns what all configurations have in common.
func (k *Keeper) base(protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion: max(k.options.MinVersion, tls.VersionTLS12), MaxVersion: k.options.MaxVersion,
		CipherSuites: k.options.CipherSuites, NextProtos: protocols,
		// A resumed session would stand under the authorities of its beginning.
		SessionTicketsDisabled: true,
	}
}

// Listener returns the configuration of a listener that trusts the authorities of all blocks, and shows the certificate
// and goes by the Admit of the first; nil if that names no files. Connections that are a [Guest] are asked to leave
// when their authority is taken away, or they are revoked.
func (k *Keeper) Listener(protocols []string, b Block, also ...Block) (*tls.Config, error) {
	if !b.enabled() {
		return nil, nil
	}
	if b.Cert == "" {
		return nil, errors.New("a listener needs a certificate")
	}
	p, err := k.port(append([]Block{b}, also...))
	if err != nil {
		return nil, err
	}
	p.usage = x509.ExtKeyUsageClientAuth
	c := k.base(protocols)
	pair := p.pairs[0]
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current().pair, nil }
	switch {
	case b.RequireClientCert:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	case len(p.bundles) > 0:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	each := c.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		pool := p.trusted()
		one := each.Clone()
		one.ClientCAs = pool
		one.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.VerifiedChains) == 0 {
				return nil
			}
			if err := p.unrevoked(s.VerifiedChains); err != nil {
				return err
			}
			if b.Admit != nil {
				if err := b.Admit(s.PeerCertificates[0]); err != nil {
					return err
				}
			}
			guest, ok := hello.Conn.(Guest)
			if !ok {
				return nil
			}
			return p.admit(guest, slices.Clone(s.PeerCertificates), pool)
		}
		return one, nil
	}
	return c, nil
}
