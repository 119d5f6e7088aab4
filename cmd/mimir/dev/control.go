package dev

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// ErrNotRunning says that no mimir dev runs on a directory.
var ErrNotRunning = errors.New("no mimir dev runs there")

// Staying asks what runs on this machine, and goes nowhere else: whoever has the address by now is not to send it on.
var Staying = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// controlFile is where a mimir dev that runs is told what to do, and by what it knows who may: whoever may read the
// file, which is its user.
const controlFile = "control.json"

const (
	orderLimit    = 64 << 10         // bytes of an order, and of its answer
	orderPatience = 30 * time.Second // for an order to be carried out
)

// place is what controlFile holds.
type place struct {
	Address string `json:"address"` // host:port, of this machine alone
	Token   string `json:"token"`
}

// outcome is what became of an order.
type outcome struct {
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
	Order bool   `json:"order,omitempty"` // the error is ErrOrder
}

// request is an order that waits to be carried out.
type request struct {
	order Order
	done  chan outcome // holds one
}

// control takes orders on a port of this machine, from those who know the token.
type control struct {
	place    place
	requests chan request
	server   *http.Server
	path     string
}

func newControl(dir string) (*control, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for orders: %w", err)
	}
	c := &control{
		place: place{Address: l.Addr().String(), Token: rand.Text()}, requests: make(chan request),
		path: filepath.Join(dir, controlFile),
	}
	c.server = &http.Server{
		Handler: http.HandlerFunc(c.serve), ReadTimeout: orderPatience, MaxHeaderBytes: orderLimit,
		WriteTimeout: 2 * orderPatience,
	}
	go c.server.Serve(l)
	text, err := json.Marshal(c.place)
	if err == nil {
		os.Remove(c.path) // of a run that was killed, with the rights that it had
		err = os.WriteFile(c.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *control) close() {
	c.server.Close()
	os.Remove(c.path)
}

func (c *control) serve(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+c.place.Token)) != 1 {
		http.Error(w, "the token of "+controlFile+" is asked for", http.StatusForbidden)
		return
	}
	var o Order
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, orderLimit))
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "not an order", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), orderPatience)
	defer cancel()
	q, out := request{o, make(chan outcome, 1)}, outcome{}
	select {
	case c.requests <- q:
		out = <-q.done
	case <-ctx.Done():
		out.Error = "mimir dev is busy: " + ctx.Err().Error()
	}
	json.NewEncoder(w).Encode(out)
}

// carryOut has an order done, and answers it.
func (q *request) carryOut(c *crew) {
	text, err := c.obey(q.order)
	out := outcome{Text: text}
	if err != nil {
		out.Error, out.Order = err.Error(), errors.Is(err, ErrOrder)
	}
	q.done <- out
}

// Tell has the mimir dev that runs on a directory carry out an order, and returns what it did. The error is
// ErrNotRunning if none runs there, and ErrOrder if it names what is not there.
func Tell(ctx context.Context, dir string, o Order) (string, error) {
	var at place
	text, err := os.ReadFile(filepath.Join(dir, controlFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", ErrNotRunning, dir)
	} else if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", filepath.Join(dir, controlFile), err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*orderPatience)
	defer cancel()
	body, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at.Address+"/", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+at.Token)
	answer, err := Staying.Do(r)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrNotRunning, dir, err)
	}
	defer answer.Body.Close()
	var out outcome
	text, err = io.ReadAll(io.LimitReader(answer.Body, orderLimit))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s: something else answers at %s: %s", ErrNotRunning, dir, at.Address, answer.Status)
	}
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	switch {
	case err != nil:
		return "", err
	case out.Order:
		return "", &orderError{out.Error}
	case out.Error != "":
		return "", errors.New(out.Error)
	}
	return out.Text, nil
}

// orderError is an ErrOrder with the words of the process that gave it.
type orderError struct{ text string }

func (e *orderError) Error() string { return e.text }
func (e *orderError) Unwrap() error { return ErrOrder }
