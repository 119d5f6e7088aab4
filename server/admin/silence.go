package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// GivingUp returns a client that asks an endpoint something small before a question, even if it is the only one, and
// gives it up when it was silent for so long on one step of the way: the connection, TLS, the answer. It shares
// everything else with c. Clients that ask other endpoints ([Client.At]) do not.
func GivingUp(c *Client, silence time.Duration) *Client {
	other := *c
	other.silence, other.waits.first = silence, min(c.waits.first, silence/2)
	return &other
}

// SilentError says that an endpoint was given up because it was silent. It is a [context.DeadlineExceeded].
type SilentError struct {
	Endpoint string
	After    time.Duration // of silence
	Step     string        // what it had done until then, and what it had not
}

func (e *SilentError) Error() string {
	return fmt.Sprintf("%s did not answer for %v: %s", e.Endpoint, e.After, e.Step)
}

func (*SilentError) Unwrap() error { return context.DeadlineExceeded }

// What an endpoint did before it fell silent.
const (
	stepConnect = "it does not take the connection (the machine is gone, or the network drops what is sent there)"
	stepTLS     = "it takes the connection, and does not begin with TLS (its process stands still, or has no TLS there)"
	stepAnswer  = "it takes the connection, and says nothing (its process or its disk stands still, or it is no node)"
	stepTail    = "it answers for itself, and does not begin to send the tail (its disk stands still, or others read)"
	stepFleet   = "it answers for itself, and does not tell of the fleet (what it asks of others stands still there)"
)

// stillness sees how far a call comes, and ends it if no step is done for a time.
type stillness struct {
	bound time.Duration
	late  *time.Timer
	fired atomic.Bool
	step  atomic.Pointer[string]
}

// watch returns a context for one call that ends when no step of it is done within bound.
func watch(ctx context.Context, bound time.Duration) (context.Context, *stillness, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	s := &stillness{bound: bound}
	s.late = time.AfterFunc(bound, func() { s.fired.Store(true); cancel() })
	s.at(stepConnect)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				s.at(stepTLS)
			}
		},
		GotConn:              func(httptrace.GotConnInfo) { s.at(stepAnswer) },
		GotFirstResponseByte: func() { s.at(stepAnswer) },
	})
	return ctx, s, func() { s.late.Stop(); cancel() }
}

func (s *stillness) at(step string) {
	s.step.Store(&step)
	if !s.fired.Load() {
		s.late.Reset(s.bound)
	}
}

// said returns the error of a call at an endpoint, as a SilentError if it was ended for silence.
func (s *stillness) said(endpoint string, err error) error {
	if err == nil || !s.fired.Load() {
		return err
	}
	step := *s.step.Load()
	if step == stepTLS && strings.HasPrefix(endpoint, "http://") { // it has only just connected
		step = stepAnswer
	}
	return &SilentError{Endpoint: endpoint, After: s.bound, Step: step}
}

// plainly returns why an endpoint could not be asked since began in an operator's words. It unwraps to err.
func plainly(endpoint string, began time.Time, err error) error {
	var silent *SilentError
	var call *url.Error
	if errors.As(err, &silent) || !errors.As(err, &call) {
		return err
	}
	return &callError{text: endpoint + callText(time.Since(began), call.Err), error: err}
}

// callText says it. Of several bounds that a call has, of its connection, its answer and its caller, any may have ended
// it: what is told is for how long there was no answer.
func callText(waited time.Duration, err error) string {
	var name *net.DNSError
	var cert *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Sprintf(": there is no machine of the name %s", name.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": nothing listens there (connection refused)"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return ": there is no way to it in the network"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ": it closed the connection without an answer"
	case Outdated(err):
		return ": " + outdatedText(err) + ", by the clock of this machine: see docs/certificates.md"
	case errors.As(err, &cert):
		return fmt.Sprintf(": its certificate is not trusted (%v); see --cacert", cert.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return ": it does not speak TLS there; name it as http://, or leave --cacert and --cert away"
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert of TLS
		return fmt.Sprintf(": it refused the certificate that was shown, or none was (%v); see --cert and --key",
			remote.Err)
	case errors.Is(err, io.EOF):
		return ": it closed the connection without an answer (EOF); if it has TLS there, give --cacert"
	case isTimeout(err):
		return fmt.Sprintf(" did not answer for %v", roundly(waited))
	default:
		return ": " + err.Error()
	}
}

// roundly has a time be read by people.
func roundly(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// callError is an error with other words.
type callError struct {
	error
	text string
}

func (e *callError) Error() string { return e.text }

func (e *callError) Unwrap() error { return e.error }

// Outdated reports whether an endpoint gave no answer that could be taken because its certificate, or one above it, is
// not valid at this time, by the clock of this machine.
func Outdated(err error) bool {
	var c x509.CertificateInvalidError
	return errors.As(err, &c) && c.Reason == x509.Expired
}

// outdatedText says which of both ends of a certificate's time it is.
func outdatedText(err error) string {
	var c x509.CertificateInvalidError
	if errors.As(err, &c) && c.Cert != nil && time.Now().Before(c.Cert.NotBefore) {
		return "its certificate is valid only from " + c.Cert.NotBefore.UTC().Format(time.RFC3339) + " on"
	} else if c.Cert != nil {
		return "its certificate ended on " + c.Cert.NotAfter.UTC().Format(time.RFC3339)
	}
	return "its certificate is not valid now"
}

// outdatedError is ErrNoEndpoint where the certificate of one was not valid at this time.
type outdatedError struct {
	failures    string
	certificate error
}

func (e *outdatedError) Error() string { return ErrNoEndpoint.Error() + ": " + e.failures }

func (e *outdatedError) Unwrap() []error { return []error{ErrNoEndpoint, e.certificate} }
