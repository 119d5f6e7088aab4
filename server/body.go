package server

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// bodyTime is how long the body of a request may take, and bodyPace how many bytes of it give it a second more: a
	// slow link may be slow, but whoever sends a byte now and then to hold a place does not hold it for long.
	bodyTime = 30 * time.Second
	bodyPace = 16 << 10
)

// streams are the calls of the JSON gateway whose body is a stream of messages: it may stay open, and quiet, for as
// long as the client likes.
var streams = map[string]bool{"/v3/watch": true, "/v3/lease/keepalive": true}

// patient bounds the time in which the body of a request has to come.
func patient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody && !streams[r.URL.Path] {
			r.Body = &timedBody{ReadCloser: r.Body, connection: http.NewResponseController(w), began: time.Now()}
		}
		h.ServeHTTP(w, r)
	})
}

// timedBody is a body with a deadline that advances with what has come.
type timedBody struct {
	io.ReadCloser
	connection *http.ResponseController
	began      time.Time
	read       int64
}

func (b *timedBody) Read(p []byte) (int, error) {
	more := time.Duration(b.read/bodyPace) * time.Second
	if err := b.connection.SetReadDeadline(b.began.Add(bodyTime + more)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) {
		// The server reads on, to notice that the client has left.
		if failed := b.connection.SetReadDeadline(time.Time{}); failed != nil {
			return n, failed
		}
	}
	return n, err
}
