package operator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// HTTP returns h behind the gate, as the handler of a pattern.
func (g *Gate) HTTP(pattern string, h http.Handler) http.Handler {
	call, _ := Of(pattern)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := requester(r)
		// The gateway makes a gRPC request of it, which is the same caller's.
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
		if call.Right != Operator {
			h.ServeHTTP(w, r)
			return
		}
		c.Fresh, c.Changes = true, !call.Reads
		o, err := g.begin(r.Context(), pattern, &call, c, valuesOf(r, call.Args))
		if err != nil {
			refuse(w, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), whoKey{}, o.identity.who))
		ended, answer := errCut, &answer{ResponseWriter: w}
		defer func() { o.end(ended) }()
		var late error
		h.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), failedKey{}, &late)))
		ended = cmp.Or(answer.err(), late)
	})
}

type failedKey struct{}

// Failed says of a call over HTTP that it failed, though its answer had begun before that was known. It is for the
// goroutine of the handler.
func Failed(ctx context.Context, err error) {
	if late, ok := ctx.Value(failedKey{}).(*error); ok {
		*late = err
	}
}

func refuse(w http.ResponseWriter, err error) {
	code := http.StatusForbidden
	switch {
	case status.Code(err) == codes.FailedPrecondition: // who may do that is not known here, and is elsewhere
		code = http.StatusMisdirectedRequest
	case errors.Is(err, ErrAudit):
		code = http.StatusServiceUnavailable
	case errors.Is(err, ErrMany):
		code = http.StatusTooManyRequests
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) //nolint:errcheck // the client is gone
}

// mostErrorBytes bounds what is kept of an answer that says what is wrong.
const mostErrorBytes = 1 << 10

// answer remembers how a request was answered.
type answer struct {
	http.ResponseWriter
	code int
	text bytes.Buffer // of an error
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.code >= http.StatusBadRequest {
		a.text.Write(p[:min(len(p), mostErrorBytes-a.text.Len())])
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// err is what the answer says to be wrong.
func (a *answer) err() error {
	if a.code < http.StatusBadRequest {
		return nil
	}
	told := struct{ Error string }{}
	if json.Unmarshal(a.text.Bytes(), &told) == nil && told.Error != "" {
		return errors.New(told.Error)
	}
	return errors.New(http.StatusText(a.code))
}

// mostBodyBytes bounds what is read of a body for the audit log.
const mostBodyBytes = 64 << 10

// bodyOf returns what a body of JSON has under these names, as the handler will read it: whatever the case of a name
// is, the last one counts. It leaves the request as it was.
func bodyOf(r *http.Request, names []string) map[string]string {
	if r.Method != http.MethodPost || r.Body == nil {
		return nil
	}
	read, err := io.ReadAll(io.LimitReader(r.Body, mostBodyBytes))
	var rest io.Reader = r.Body
	if err != nil {
		rest = failing{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(read), rest), r.Body}
	fields := map[string]string{}
	d := json.NewDecoder(bytes.NewReader(read))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return fields
		}
		for _, name := range names {
			if text, ok := key.(string); ok && strings.EqualFold(text, name) && string(value) != "null" {
				fields[name] = plain(value)
			}
		}
	}
	return fields
}

// plain returns a value without the quotes of a string.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// failing is a reader that has failed.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
