package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/server/trust"
)

// secured are the listeners' and the dialer's configurations; nil: plaintext.
type secured struct {
	keeper             *trust.Keeper
	client, peer, http *tls.Config
	dial               *trust.Dialer
	collector          *trust.Dialer // nil: without files
}

// secure reads the files of TLS, which are looked at again every so often once the keeper runs.
func secure(c *Config, every time.Duration, logger *slog.Logger) (*secured, error) {
	o, err := c.Handshakes.options()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	o.Every, o.Logger = every, logger
	s := &secured{keeper: trust.New(o)}
	client, http := c.ClientTLS.block("client-tls"), c.HTTPTLS.block("http-tls")
	client.Admit, http.Admit = c.ClientRule.admitting("client-tls"), c.HTTPRule.admitting("http-tls")
	peer, region := c.PeerTLS.block("peer-tls"), c.RegionTLS.block("region-tls")
	// Clients that offer both protocols are to get HTTP/1.1: see sniffer.
	if s.client, err = s.keeper.Listener([]string{"http/1.1", "h2"}, client); err != nil {
		return nil, fmt.Errorf("%w: client-tls: %w", ErrConfig, err)
	}
	if s.http, err = s.keeper.Listener([]string{"http/1.1"}, http); err != nil {
		return nil, fmt.Errorf("%w: http-tls: %w", ErrConfig, err)
	}
	if s.peer, err = s.keeper.Listener([]string{"h2"}, peer, region); err != nil {
		return nil, fmt.Errorf("%w: peer-tls, region-tls: %w", ErrConfig, err)
	}
	if s.dial, err = s.keeper.Dialer(append(c.PeerTLS.dialing("peer-tls"), region)...); err != nil {
		return nil, fmt.Errorf("%w: peer-tls, region-tls: %w", ErrConfig, err)
	}
	if t := &c.Tracing; t.Endpoint != "" {
		if s.collector, err = s.keeper.Dialer(t.files().block("tracing")); err != nil {
			return nil, fmt.Errorf("%w: tracing: %w", ErrConfig, err)
		}
	}
	return s, nil
}

func (t TLS) block(name string) trust.Block {
	return trust.Block{
		Name: name, Cert: t.Cert, Key: t.Key, CA: t.CA, CRL: t.CRL, RequireClientCert: t.RequireClientCert,
	}
}

// dialing returns the blocks of a dialer: the certificate for it comes from files of its own, where there are such.
func (t TLS) dialing(name string) []trust.Block {
	whole := t.block(name)
	if t.ClientCert == "" {
		return []trust.Block{whole}
	}
	whole.Cert, whole.Key = "", ""
	return []trust.Block{{Name: name + ".client-cert", Cert: t.ClientCert, Key: t.ClientKey}, whole}
}

// Handshakes bound what may be agreed on in one, at all ports and towards other nodes.
type Handshakes struct {
	MinVersion   string   // 1.2 or 1.3; empty: 1.2
	MaxVersion   string   // likewise; empty: Go's choice
	CipherSuites []string // of TLS 1.2, by their names; none: Go's choice
}

var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func (h *Handshakes) options() (o trust.Options, err error) {
	version, known := tlsVersions[strings.TrimPrefix(h.MinVersion, "TLS")]
	if !known {
		return o, fmt.Errorf("tls-min-version %q: use 1.2 or 1.3", h.MinVersion)
	}
	o.MinVersion = version
	if h.MaxVersion != "" {
		o.MaxVersion, known = tlsVersions[strings.TrimPrefix(h.MaxVersion, "TLS")]
		switch {
		case !known:
			return o, fmt.Errorf("tls-max-version %q: use 1.2 or 1.3", h.MaxVersion)
		case o.MaxVersion < o.MinVersion:
			return o, fmt.Errorf("tls-min-version %s is greater than tls-max-version %s", h.MinVersion, h.MaxVersion)
		}
	}
	if version == tls.VersionTLS13 && len(h.CipherSuites) > 0 {
		return o, errors.New("tls-cipher-suites are those of TLS 1.2, which tls-min-version 1.3 does not speak")
	}
	secure, always, weak := map[string]uint16{}, map[string]bool{}, map[string]bool{}
	for _, suite := range tls.CipherSuites() {
		if slices.Contains(suite.SupportedVersions, tls.VersionTLS12) {
			secure[suite.Name] = suite.ID
		} else {
			always[suite.Name] = true
		}
	}
	for _, suite := range tls.InsecureCipherSuites() {
		weak[suite.Name] = true
	}
	for _, name := range h.CipherSuites {
		id, known := secure[name]
		switch {
		case known:
			o.CipherSuites = append(o.CipherSuites, id)
		case weak[name]:
			return o, fmt.Errorf("tls-cipher-suites: %s is not secure", name)
		case always[name]:
			return o, fmt.Errorf("tls-cipher-suites: %s is of TLS 1.3, whose suites are always there", name)
		default:
			return o, fmt.Errorf("tls-cipher-suites: %q is unknown: use some of %s", name,
				strings.Join(slices.Sorted(maps.Keys(secure)), ", "))
		}
	}
	return o, nil
}

// ClientTLSConfig returns what a client of the given block's fleet dials with; nil for an empty block. insecure
// skips the check of the server's certificate. The files are read once.
func ClientTLSConfig(block TLS, insecure bool) (*tls.Config, error) {
	if insecure && block.CA != "" {
		return nil, fmt.Errorf("%w: %w", ErrConfig,
			errors.New("trusting any server and naming an authority exclude each other"))
	}
	dialer, err := trust.New(trust.Options{}).Dialer(block.block("tls"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var c *tls.Config
	if dialer != nil {
		c = dialer.Config()
	}
	if insecure {
		if c == nil {
			c = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		c.InsecureSkipVerify = true
	}
	return c, nil
}
