package server

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

const frameGoAway = 7

// caller speaks HTTP/2 to a node, frame by frame.
type caller struct {
	t *testing.T
	net.Conn
}

func call(t *testing.T, c *Config) *caller {
	t.Helper()
	var conn net.Conn
	eventually(t, "the node listens", func(ctx context.Context) bool {
		var err error
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", c.ListenClient)
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	one := &caller{t, conn}
	one.say([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	one.say([]byte{0, 0, 0, frameSettings, 0, 0, 0, 0, 0})
	return one
}

func (c *caller) say(frame []byte) {
	c.t.Helper()
	if _, err := c.Write(frame); err != nil {
		c.t.Fatal(err)
	}
}

// watch opens a stream of watches.
func (c *caller) watch() {
	var block []byte
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", "/etcdserverpb.Watch/Watch"}, {":authority", "a"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} { // each a literal that is not indexed
		block = append(append(block, 0, byte(len(h[0]))), h[0]...)
		block = append(append(block, byte(len(h[1]))), h[1]...)
	}
	c.say(append([]byte{0, 0, byte(len(block)), frameHeaders, 4, 0, 0, 0, 1}, block...))
}

// hear returns the next frame; nil if the connection has ended.
func (c *caller) hear() (kind, flags byte, payload []byte) {
	c.t.Helper()
	head := make([]byte, 9)
	_, err := io.ReadFull(c, head)
	if err == nil {
		payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		_, err = io.ReadFull(c, payload)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("it is connected still, and nothing comes")
	}
	if err != nil {
		return 0, 0, nil
	}
	return head[3], head[4], payload
}

// A client that says nothing is asked after the time that is set whether it lives, and let go when it does not answer.
func TestAQuietClientIsAsked(t *testing.T) {
	t.Parallel()
	c := testConfig(t, "solo")
	c.Keepalive.Interval, c.Keepalive.Timeout = time.Second, time.Second
	runNode(t, c)
	asked := false
	for client := call(t, c); ; {
		kind, flags, payload := client.hear()
		if payload == nil {
			break
		}
		asked = asked || kind == framePing && flags == 0
	}
	if !asked {
		t.Error("nobody asked whether the client lives")
	}
}

// A client that watches may ask as often as is set whether the node lives.
func TestAClientMayAsk(t *testing.T) {
	t.Parallel()
	c := testConfig(t, "solo")
	c.Keepalive.MinTime = 10 * time.Millisecond
	runNode(t, c)
	client := call(t, c)
	client.watch()
	for i := range 6 {
		client.say(slices.Concat([]byte{0, 0, 8, framePing, 0, 0, 0, 0, 0}, []byte("question")))
		for {
			kind, flags, payload := client.hear()
			if payload == nil || kind == frameGoAway {
				t.Fatalf("question %d: it was let go: %q", i, payload)
			}
			if kind == framePing && flags == 1 && string(payload) == "question" {
				break
			}
		}
		time.Sleep(2 * c.Keepalive.MinTime) // the next one is no sooner than it may be
	}
}
