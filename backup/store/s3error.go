package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

// meanings are the codes of S3, and of those who speak it, with what is to be done.
var meanings = map[string]struct {
	err  error
	hint string
}{
	"NoSuchKey":                      {ErrNotFound, ""},
	"NoSuchBucket":                   {ErrNoPlace, "make the bucket"},
	"PermanentRedirect":              {ErrNoPlace, "the bucket is in another region: name that one"},
	"AccessDenied":                   {ErrDenied, "the key may not do this in this bucket"},
	"AllAccessDisabled":              {ErrDenied, ""},
	"AccountProblem":                 {ErrDenied, ""},
	"InvalidAccessKeyId":             {ErrDenied, "the access key ID is not known there"},
	"SignatureDoesNotMatch":          {ErrDenied, "the secret access key is not the one of the access key ID"},
	"InvalidToken":                   {ErrDenied, "the session token is not valid"},
	"InvalidTokenId":                 {ErrDenied, "the session token is not valid"},
	"ExpiredToken":                   {ErrDenied, "the session token has run out"},
	"ExpiredTokenException":          {ErrDenied, "the session token has run out"},
	"RequestTimeTooSkewed":           {ErrClock, ""},
	"RequestExpired":                 {ErrClock, ""},
	"QuotaExceeded":                  {ErrFull, "the quota is used up"},
	"InsufficientCapacity":           {ErrFull, ""},
	"InsufficientStorage":            {ErrFull, ""},
	"XMinioStorageFull":              {ErrFull, ""},
	"EntityTooLarge":                 {ErrFull, "it is larger than what may be put there"},
	"BadDigest":                      {ErrChanged, "it was changed on its way there"},
	"SlowDown":                       {ErrBusy, ""},
	"SlowDownWrite":                  {ErrBusy, ""},
	"SlowDownRead":                   {ErrBusy, ""},
	"ServiceUnavailable":             {ErrBusy, ""},
	"Throttling":                     {ErrBusy, ""},
	"ThrottlingException":            {ErrBusy, ""},
	"RequestLimitExceeded":           {ErrBusy, ""},
	"RequestThrottled":               {ErrBusy, ""},
	"TooManyRequests":                {ErrBusy, ""},
	"OperationAborted":               {ErrBusy, "another request for the same object is under way"},
	"PreconditionFailed":             {ErrChanged, "another was put in its place as it was read"},
	"XMinioAdminBucketQuotaExceeded": {ErrFull, "the quota of the bucket is used up"},
	"AuthorizationHeaderMalformed":   {ErrNoPlace, "the bucket is in another region: name that one"},
	"InvalidRegion":                  {ErrNoPlace, "the bucket is in another region: name that one"},
	"XAmzContentSHA256Mismatch":      {ErrChanged, "it was changed on its way there"},
	"XMinioInsufficientReadQuorum":   {ErrBusy, ""},
	"XMinioInsufficientWriteQuorum":  {ErrBusy, ""},
}

// explain says what an error of the client is, and what to do about it.
func (b *bucket) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return b.answered(answer)
	}
	var untrusted *tls.CertificateVerificationError
	var notTLS tls.RecordHeaderError
	var notThere *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(err, ErrDenied) || errors.Is(err, errSource):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %v: %w", ErrStalled, b.stall, err)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%w: its certificate is not trusted: name the file of who signed it: %w", ErrNoPlace, err)
	case errors.As(err, &notTLS) || strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return fmt.Errorf("%w: it does not speak TLS: name it by http://: %w", ErrNoPlace, err)
	case errors.As(err, &notThere) || errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: it cannot be reached: %w", ErrNoPlace, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: it broke off: %w", ErrStalled, err)
	}
	return err
}

// answered is an error that the storage itself gave.
func (b *bucket) answered(a minio.ErrorResponse) error {
	m, known := meanings[a.Code]
	switch {
	case known:
	case a.StatusCode == http.StatusServiceUnavailable || a.StatusCode == http.StatusTooManyRequests:
		m.err = ErrBusy
	case a.StatusCode == http.StatusForbidden || a.StatusCode == http.StatusUnauthorized:
		m.err = ErrDenied
	case a.StatusCode == http.StatusInsufficientStorage:
		m.err = ErrFull
	default:
		return fmt.Errorf("the storage answered %s: %w", a.Code, a)
	}
	if m.err == ErrClock {
		ahead := time.Duration(b.wire.ahead.Load()).Round(10 * time.Second)
		if m.hint = fmt.Sprintf("that one is %v ahead", ahead); ahead < 0 {
			m.hint = fmt.Sprintf("that one is %v behind", -ahead)
		}
	}
	if m.hint == "" {
		return fmt.Errorf("%w: the storage answered %s: %w", m.err, a.Code, a)
	}
	return fmt.Errorf("%w: %s: the storage answered %s: %w", m.err, m.hint, a.Code, a)
}
