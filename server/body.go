package server

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// bodyTime is how long the body of a request may take, and bodyPace how many bytes of it give it a second more: a
	// slow link may be slow, but whoever sends a byte now and then to hold a place does not hold it for long.
	bodyTime = 30 * time.Second
	bodyPace = 16 << 10
)

// streams are the calls of the JSON gateway whose body is a stream of messages, by all their paths: it may stay open,
// and quiet, for as long as the client likes, and is read while it is answered.
var streams = map[string]bool{
	"/v3/watch": true, "/v3/lease/keepalive": true, "/v3beta/watch": true, "/v3beta/lease/keepalive": true,
}

const (
	// answerTime is how long a client may take for the next answerBytes of an answer: whoever reads nothing holds what
	// was made for it, and a connection.
	answerTime  = 30 * time.Second
	answerBytes = 64 << 10
)

// patient bounds the time in which the body of a request has to come, and in which the answer has to be taken. It is
// given the very request of the server, which looks at its body again when the answer begins.
func patient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &timedAnswer{ResponseWriter: w, connection: http.NewResponseController(w)}
		w = answer
		defer answer.end()
		if r.Body != nil && r.Body != http.NoBody {
			answer.body = &timedBody{
				ReadCloser: r.Body, connection: answer.connection, request: r, began: time.Now(),
				stream: streams[r.URL.Path],
			}
			if !answer.body.stream {
				r.Body = answer.body
			}
		}
		h.ServeHTTP(w, r)
	})
}

// timedBody is a body with a deadline that advances with what has come.
type timedBody struct {
	io.ReadCloser
	connection *http.ResponseController
	request    *http.Request
	began      time.Time
	read       int64
	stream     bool // of messages: it is read as it comes
	over       bool // it has come to its end
	settled    bool
}

// mostUnread is how much of a body that nobody read the server reads before it answers.
const mostUnread = 256 << 10

// settle reads what nobody has read of a body, which the server would do as well when the answer begins: but it would
// wait for that for as long as the client likes, and so would whoever answers.
func (b *timedBody) settle() {
	if b.settled || b.stream {
		return
	}
	b.settled = true
	b.request.Body = b.ReadCloser
	asked := strings.EqualFold(b.request.Header.Get("Expect"), "100-continue") && b.read == 0 // it is not to come
	if b.over || asked || b.request.ContentLength-b.read > mostUnread {
		return
	}
	b.began, b.read = time.Now(), 0
	io.CopyN(io.Discard, b, mostUnread+1) //nolint:errcheck // of what did not come the server makes its own
}

func (b *timedBody) Read(p []byte) (int, error) {
	more := time.Duration(b.read/bodyPace) * time.Second
	if err := b.connection.SetReadDeadline(b.began.Add(bodyTime + more)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if errors.Is(err, io.EOF) {
		b.over = true
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
	body       *timedBody // of the request; nil: it has none
}

// begin is called before anything of the answer is written.
func (a *timedAnswer) begin() {
	if a.body != nil {
		a.body.settle()
	}
	a.extend()
}

// end is for what the server does at the end: it writes, and reads what is left of a stream.
func (a *timedAnswer) end() {
	a.begin()
	if a.body != nil && a.body.stream {
		_ = a.connection.SetReadDeadline(time.Now().Add(bodyTime)) // as in extend
	}
}

func (a *timedAnswer) extend() {
	// A connection that knows no deadlines is none of a server of ours.
	_ = a.connection.SetWriteDeadline(time.Now().Add(answerTime))
}

// Write implements http.ResponseWriter.
func (a *timedAnswer) Write(p []byte) (n int, err error) {
	a.begin()
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
	a.begin()
	return a.connection.Flush()
}

// Unwrap is for http.ResponseController.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
