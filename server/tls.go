package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// keypair is a certificate read from files, read again when they change. A change that cannot be read keeps the former
// one.
type keypair struct {
	certFile, keyFile string

	mu      sync.Mutex
	pair    *tls.Certificate
	stamp   [2]fileStamp
	checked time.Time
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// recheckInterval bounds how often the files are looked at.
const recheckInterval = 5 * time.Second

func loadKeypair(certFile, keyFile string) (*keypair, error) {
	k := &keypair{certFile: certFile, keyFile: keyFile}
	stamp, err := k.look()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	k.pair, k.stamp, k.checked = &pair, stamp, time.Now()
	return k, nil
}

func (k *keypair) look() (stamp [2]fileStamp, err error) {
	for i, name := range []string{k.certFile, k.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, err
		}
		stamp[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return stamp, nil
}

// current returns the certificate as the files have it.
func (k *keypair) current() *tls.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.checked) >= recheckInterval {
		k.checked = now
		if stamp, err := k.look(); err == nil && stamp != k.stamp {
			if pair, err := tls.LoadX509KeyPair(k.certFile, k.keyFile); err == nil {
				k.pair, k.stamp = &pair, stamp
			}
		}
	}
	return k.pair
}

// authorities reads PEM files into one pool; nil if there is none, which means the machine's own.
func authorities(files ...string) (*x509.CertPool, error) {
	var pool *x509.CertPool
	for _, file := range files {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if pool == nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: no certificate in it", file)
		}
	}
	return pool, nil
}

// listenerTLS returns the configuration of a listener that trusts the authorities of all blocks and shows the
// certificate of the first; nil if that is not enabled.
func listenerTLS(protocols []string, block TLS, also ...TLS) (*tls.Config, error) {
	if !block.Enabled() {
		return nil, nil
	}
	pair, err := loadKeypair(block.Cert, block.Key)
	if err != nil {
		return nil, err
	}
	pool, err := authorities(caFiles(append([]TLS{block}, also...))...)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		ClientCAs:      pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current(), nil },
	}
	switch {
	case block.RequireClientCert:
		c.ClientAuth = tls.RequireAndVerifyClientCert
	case pool != nil:
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return c, nil
}

// dialerTLS returns the configuration of a dialer that trusts the authorities of all blocks, and shows the first of
// their certificates that the other side accepts; nil if no block is enabled.
func dialerTLS(blocks ...TLS) (*tls.Config, error) {
	var pairs []*keypair
	enabled := false
	for _, block := range blocks {
		enabled = enabled || block.Enabled()
		if block.Cert == "" {
			continue
		}
		pair, err := loadKeypair(block.Cert, block.Key)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair)
	}
	if !enabled {
		return nil, nil
	}
	pool, err := authorities(caFiles(blocks)...)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2"},
		RootCAs:    pool,
		GetClientCertificate: func(request *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			for _, p := range pairs {
				if pair := p.current(); request.SupportsCertificate(pair) == nil {
					return pair, nil
				}
			}
			return &tls.Certificate{}, nil
		},
	}, nil
}

func caFiles(blocks []TLS) []string {
	var files []string
	for _, b := range blocks {
		files = append(files, b.CA)
	}
	return files
}

// ClientTLSConfig returns what a client of the given block's fleet dials with; nil for an empty block. insecure
// skips the check of the server's certificate.
func ClientTLSConfig(block TLS, insecure bool) (*tls.Config, error) {
	if insecure && block.CA != "" {
		return nil, fmt.Errorf("%w: %w", ErrConfig,
			errors.New("trusting any server and naming an authority exclude each other"))
	}
	c, err := dialerTLS(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if insecure {
		if c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		c.InsecureSkipVerify = true
	}
	return c, nil
}
