package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"

	"github.com/mimir-kv/mimir/etcdapi/share"
)

const (
	// jsonBodiesBytes bounds the JSON bodies that are read or handled at a time, by what they are said to have, and the
	// large messages of JSON streams. With the copies that are made of them they take about five times as much.
	jsonBodiesBytes = 64 << 20
)

// jsonBytes bounds the JSON of one request: base64 takes a third more, names and white space the rest.
func (a *API) jsonBytes() int64 { return 2 * int64(a.limits.now().RequestBytes+requestOverheadBytes) }

// jsonStreams are the calls whose body is a stream of messages.
var jsonStreams = map[string]bool{"/v3/watch": true, "/v3/lease/keepalive": true}

// jsonWaits are the calls that may wait for others for as long as they like. What they hold then is their message.
var jsonWaits = map[string]bool{"/v3/lock/lock": true, "/v3/election/campaign": true, "/v3/election/observe": true}

// boundBodies refuses a body that is too large before it is read, and has those that are not wait until there is room.
func (a *API) boundBodies(h http.Handler) http.Handler {
	all := share.New(jsonBodiesBytes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			h.ServeHTTP(w, r)
			return
		}
		if jsonStreams[r.URL.Path] {
			ctx, cancel := context.WithCancelCause(r.Context())
			defer cancel(nil)
			r = r.WithContext(ctx)
			body := &streamBody{ReadCloser: r.Body, fail: cancel, room: func() (func(), error) {
				return all.Acquire(ctx, r.RemoteAddr, min(a.jsonBytes(), all.Alone()))
			}}
			defer body.end()
			r.Body = body
			h.ServeHTTP(w, r)
			return
		}
		limit := min(a.jsonBytes(), all.Alone())
		bytes := r.ContentLength
		if bytes < 0 { // it is not said: it may be as large as any
			bytes = limit
		}
		if bytes > limit {
			w.Header().Set("Connection", "close")
			http.Error(w, fmt.Sprintf("a body of %d bytes: at most %d are taken", bytes, limit),
				http.StatusRequestEntityTooLarge)
			return
		}
		release, err := all.Acquire(r.Context(), r.RemoteAddr, bytes)
		if err != nil {
			return // the client has left
		}
		defer release()
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if jsonWaits[r.URL.Path] {
			r.Body = waitingBody{r.Body, release}
		}
		h.ServeHTTP(w, r)
	})
}

// waitingBody is the body of a call that may wait when it has read it.
type waitingBody struct {
	io.ReadCloser
	read func()
}

// Read implements io.Reader.
func (b waitingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.read()
	}
	return n, err
}

// boundedMarshaler is a marshaler that reads no message which is too large, also where many come in one body, of which
// the whole cannot be bounded.
type boundedMarshaler struct {
	runtime.Marshaler
	bytes func() int64
}

// NewDecoder implements runtime.Marshaler.
func (m boundedMarshaler) NewDecoder(r io.Reader) runtime.Decoder {
	if body, ok := r.(*streamBody); ok {
		return newStreamDecoder(body, m)
	}
	return m.Marshaler.NewDecoder(&messageReader{reader: r, left: m.bytes()})
}

var errLargeMessage = errors.New("etcdapi: a JSON message is too large")

// messageReader reads no more than what one message may have.
type messageReader struct {
	reader io.Reader
	left   int64
}

func (r *messageReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errLargeMessage
	}
	n, err := r.reader.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}
