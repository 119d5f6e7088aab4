package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// ClientRule says which certificates a listener takes, beside that an authority signed them. What is empty asks for
// nothing; of what is set, each must hold.
type ClientRule struct {
	AllowedCN        []string // the common name is one of these
	AllowedHostnames []string // it is valid for one of these
}

func (r *ClientRule) validate(t TLS) error {
	if slices.Contains(r.AllowedCN, "") || slices.Contains(r.AllowedHostnames, "") {
		return errors.New("allowed-cn and allowed-hostname have an empty name, which is that of nobody")
	}
	if (len(r.AllowedCN) > 0 || len(r.AllowedHostnames) > 0) && !t.RequireClientCert {
		return errors.New("allowed-cn and allowed-hostname need ca and require-client-cert")
	}
	return nil
}

// admitting returns what a listener of a block asks of certificates; nil: nothing.
func (r *ClientRule) admitting(block string) func(*x509.Certificate) error {
	if len(r.AllowedCN) == 0 && len(r.AllowedHostnames) == 0 {
		return nil
	}
	return func(c *x509.Certificate) error { return isAllowed(block, r.AllowedCN, r.AllowedHostnames, c) }
}

// isAllowed returns why a certificate is none of those that the settings of a block allow.
func isAllowed(block string, commonNames, hostnames []string, c *x509.Certificate) error {
	switch {
	case len(commonNames) > 0 && (c.Subject.CommonName == "" || !slices.Contains(commonNames, c.Subject.CommonName)):
		return fmt.Errorf("its certificate is of %q, which is not in %s.allowed-cn", c.Subject.CommonName, block)
	case len(hostnames) > 0 &&
		!slices.ContainsFunc(hostnames, func(h string) bool { return c.VerifyHostname(h) == nil }):
		return fmt.Errorf("its certificate, of %q, is valid for nothing in %s.allowed-hostname", c.Subject.CommonName,
			block)
	}
	return nil
}
