package server

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/test/bufconn"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// upload serves one request whose body a client sends by hand, in virtual time, and returns what the handler read.
func upload(t *testing.T, path string, send func(c net.Conn)) (read int64, took time.Duration, err error) {
	virtual.Test(t, func(t *testing.T) {
		l := bufconn.Listen(64 << 10)
		done := make(chan struct{})
		began := time.Now()
		web := newHTTPServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			read, err = io.Copy(io.Discard, r.Body)
			took = time.Since(began)
			close(done)
		}), slog.New(slog.DiscardHandler))
		go web.Serve(l)
		c, dialled := l.DialContext(t.Context())
		if dialled != nil {
			t.Fatal(dialled)
		}
		go io.Copy(io.Discard, c)
		io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n")
		sent := make(chan struct{})
		go func() { send(c); close(sent) }()
		<-done
		web.Close()
		c.Close()
		<-sent
		time.Sleep(time.Minute) // the server hears a client out whom it does not hear to the end
	})
	return read, took, err
}

// drip sends n pieces of a size, one each interval.
func drip(n, bytes int, interval time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		for range n {
			if _, err := c.Write(make([]byte, bytes)); err != nil {
				return
			}
			time.Sleep(interval)
		}
	}
}

func TestABodyHasToCome(t *testing.T) {
	for name, send := range map[string]func(net.Conn){
		"nothing": drip(0, 0, 0), "a byte a second": drip(1000, 1, time.Second),
	} {
		_, took, err := upload(t, "/v3/kv/put", send)
		var failed net.Error
		if !errors.As(err, &failed) || !failed.Timeout() || took > 31*time.Second {
			t.Errorf("%s: %v after %v", name, err, took)
		}
	}
	if read, took, err := upload(t, "/v3/kv/put", drip(64, 16<<10, 1200*time.Millisecond)); err != nil ||
		read != 1<<20 || took < time.Minute {
		t.Errorf("a slow link: %d bytes, %v after %v", read, err, took)
	}
	stream := func(c net.Conn) {
		time.Sleep(time.Hour)
		c.Write(make([]byte, 1<<20))
	}
	for _, path := range []string{"/v3/watch", "/v3beta/lease/keepalive"} {
		if read, _, err := upload(t, path, stream); err != nil || read != 1<<20 {
			t.Errorf("a stream that is quiet: %s: %d bytes, %v", path, read, err)
		}
	}
}

// download serves one answer, in virtual time, to a client that takes it as take does, and returns what was written.
func download(t *testing.T, write func(w http.ResponseWriter) error, take func(c net.Conn)) (err error) {
	virtual.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 10)
		done := make(chan struct{})
		web := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			defer close(done)
			err = write(w)
		}), slog.New(slog.DiscardHandler))
		go web.Serve(l)
		c, dialled := l.DialContext(t.Context())
		if dialled != nil {
			t.Fatal(dialled)
		}
		go io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		taken := make(chan struct{})
		go func() { take(c); close(taken) }()
		<-done
		web.Close()
		c.Close()
		<-taken
	})
	return err
}

// An answer has to be taken: not all of it in a certain time, but some of it again and again.
func TestAnAnswerHasToBeTaken(t *testing.T) {
	whole := func(w http.ResponseWriter) error {
		_, err := w.Write(make([]byte, 1<<20))
		return err
	}
	quiet := func(w http.ResponseWriter) error { // as a watch is
		for range 3 {
			if _, err := io.WriteString(w, "event"); err != nil {
				return err
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
			time.Sleep(time.Hour)
		}
		return nil
	}
	slowly := func(c net.Conn) {
		buffer := make([]byte, 8<<10)
		for {
			if _, err := io.ReadFull(c, buffer); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	for name, c := range map[string]struct {
		write func(http.ResponseWriter) error
		take  func(net.Conn)
		ends  bool
	}{
		"nothing is taken":           {whole, func(net.Conn) {}, true},
		"it is taken slowly":         {whole, slowly, false},
		"a quiet one, taken":         {quiet, slowly, false},
		"a quiet one, nothing taken": {quiet, func(c net.Conn) { c.Read(make([]byte, 300)) }, false}, // it fits
	} {
		var failed net.Error
		if err := download(t, c.write, c.take); c.ends != (errors.As(err, &failed) && failed.Timeout()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A body that nobody reads has to come as well: the server reads it before it answers. So it is where the answer is
// begun at once and where it is not, and where the length of the body is said or not.
func TestABodyThatNobodyReadsHasToCome(t *testing.T) {
	nothing := func(http.ResponseWriter) {}
	begun := func(w http.ResponseWriter) {
		io.WriteString(w, "event\n")
		http.NewResponseController(w).Flush()
		time.Sleep(time.Hour)
	}
	for name, c := range map[string]struct {
		head  string
		write func(http.ResponseWriter)
	}{
		"nothing":     {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", nothing},
		"chunks":      {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", nothing},
		"in a stream": {"GET /console/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", begun},
		"of a watch":  {"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", nothing},
	} {
		virtual.Test(t, func(t *testing.T) {
			l := bufconn.Listen(64 << 10)
			answered := make(chan struct{})
			web := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				defer close(answered)
				c.write(w)
			}), slog.New(slog.DiscardHandler))
			go web.Serve(l)
			client, err := l.DialContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(client, c.head)
			began := time.Now()
			client.SetReadDeadline(began.Add(2 * time.Hour))
			io.Copy(io.Discard, client)
			took := time.Since(began)
			if name == "in a stream" {
				took -= time.Hour
			}
			if took > 31*time.Second {
				t.Errorf("%s: the connection is kept for %v", name, took)
			}
			web.Close()
			client.Close()
			<-answered
			time.Sleep(time.Minute)
		})
	}
}

// Who has sent all of a body is heard until he leaves, however long that is: also where its end was not read, which is
// behind the last that a handler takes.
func TestWhoHasSentABodyMayStay(t *testing.T) {
	for name, head := range map[string]string{
		"chunks": "POST /mimir/v1/replay HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"length": "POST /mimir/v1/replay HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{}\r\n",
		"unread": "POST /nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{}\r\n",
	} {
		virtual.Test(t, func(t *testing.T) {
			l := bufconn.Listen(64 << 10)
			left := make(chan time.Duration, 1)
			began := time.Now()
			web := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/nobody" {
					json.NewDecoder(r.Body).Decode(&struct{}{})
				}
				io.WriteString(w, "begun\n")
				http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(3 * time.Hour):
				}
				left <- time.Since(began)
			}), slog.New(slog.DiscardHandler))
			go web.Serve(l)
			client, err := l.DialContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(client, head)
			client.SetReadDeadline(began.Add(time.Hour))
			io.Copy(io.Discard, client)
			client.Close()
			if took := <-left; took < time.Hour || took > time.Hour+time.Minute {
				t.Errorf("%s: who left after an hour was heard for %v", name, took)
			}
			web.Close()
			time.Sleep(time.Minute)
		})
	}
}
