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

const (
	// answerTime is how long a client may take for the next answerBytes of an answer: whoever reads nothing holds what
	// was made for it, and a connection.
	answerTime  = 30 * time.Second
	answerBytes = 64 << 10
)

// patient bounds the time in which the body of a request has to come, and in which the answer has to be taken.
func patient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &timedAnswer{w, http.NewResponseController(w)}
		w = answer
		defer answer.extend() // for what the server writes at the end
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

// timedAnswer is an answer with a deadline that advances with what is taken.
type timedAnswer struct {
	http.ResponseWriter
	connection *http.ResponseController
}

func (a *timedAnswer) extend() {
	// A connection that knows no deadlines is none of a server of ours.
	_ = a.connection.SetWriteDeadline(time.Now().Add(answerTime))
}

// Write implements http.ResponseWriter.
func (a *timedAnswer) Write(p []byte) (n int, err error) {
	for first := true; err == nil && (first || n < len(p)); first = false {
		a.extend()
		var more int
		more, err = a.ResponseWriter.Write(p[n:min(len(p), n+answerBytes)])
		n += more
	}
	return n, err
}

// Flush implements http.Flusher.
func (a *timedAnswer) Flush() { _ = a.FlushError() }

// FlushError is for http.ResponseController.
func (a *timedAnswer) FlushError() error {
	a.extend()
	return a.connection.Flush()
}

// Unwrap is for http.ResponseController.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
