package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

const (
	tcpPort   = "7000"
	ownTCP    = "a sender of this command (there is no iperf3 on the PATH)"
	tcpWarmup = 2 * time.Second
	chunk     = 16 << 10
	megabit   = 1e6 / 8 // in bytes
)

// controls are the congestion controls of which the best one counts.
var controls = []string{"bbr", "cubic"}

// bestTCP measures what plain TCP carries from us to eu, in Mbit/s.
func (o *ocean) bestTCP(ctx context.Context) (best float64, err error) {
	carry := o.ownTCP
	o.tcpBy = ownTCP
	if program, err := exec.LookPath("iperf3"); err == nil {
		o.tcpBy = "iperf3"
		carry = func(ctx context.Context, control string) (float64, error) { return o.iperf3(ctx, program, control) }
	}
	for _, control := range controls {
		rate, err := carry(ctx, control)
		if errors.Is(err, os.ErrNotExist) {
			continue // this kernel does not have it
		}
		if err != nil {
			return 0, fmt.Errorf("plain TCP with %s: %w", control, err)
		}
		if ctx.Err() != nil {
			return 0, ctx.Err() // it was not measured to its end
		}
		o.note("plain TCP, "+control, "Mbit/s", rate)
		best = max(best, rate)
	}
	return best, nil
}

// ownTCP counts what arrives.
func (o *ocean) ownTCP(ctx context.Context, control string) (float64, error) {
	var got atomic.Int64
	hear := func(c net.Conn) {
		room := make([]byte, 256<<10)
		for {
			n, err := c.Read(room)
			if got.Add(int64(n)); err != nil {
				return
			}
		}
	}
	speak := func(c net.Conn) error {
		data := make([]byte, 256<<10)
		for {
			if _, err := c.Write(data); err != nil {
				return err
			}
		}
	}
	var rate float64
	err := o.overTCP(ctx, control, hear, speak, func() {
		pause(ctx, tcpWarmup)
		began, before := time.Now(), got.Load()
		pause(ctx, o.lasts)
		rate = float64(got.Load()-before) / megabit / time.Since(began).Seconds()
	})
	return rate, err
}

// overTCP has one speak at us and one hear at eu, while meanwhile runs.
func (o *ocean) overTCP(ctx context.Context, control string, hear func(net.Conn), speak func(net.Conn) error,
	meanwhile func()) error {
	at := net.JoinHostPort(o.line.Far.Addrs[0], tcpPort)
	l, err := o.line.Far.Listen(ctx, at)
	if err != nil {
		return err
	}
	defer l.Close()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		hear(c)
	}()
	c, err := o.line.Near.Dial(ctx, at, control)
	if err != nil {
		return err
	}
	go func() { _ = speak(c) }() // it ends with the connection
	meanwhile()
	_ = c.(*net.TCPConn).SetLinger(0) // what is on its way would disturb what follows
	c.Close()
	l.Close()
	<-heard
	return nil
}

// iperf3 asks iperf3, both ends of it inside.
func (o *ocean) iperf3(ctx context.Context, program, control string) (float64, error) {
	at := o.line.Far.Addrs[0]
	server := exec.CommandContext(ctx, program, "-s", "-1", "-B", at, "-p", tcpPort)
	if err := o.line.Far.Start(server); err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Process.Kill() // it may have ended
		_ = server.Wait()
	}()
	if err := await(ctx, "iperf3", func() error { return o.listens(ctx) }); err != nil {
		return 0, err
	}
	seconds := func(d time.Duration) string { return strconv.Itoa(max(1, int(d.Seconds()))) }
	client := exec.CommandContext(ctx, program, "-c", at, "-p", tcpPort, "-C", control, "-J", "-t", seconds(o.lasts),
		"-O", seconds(tcpWarmup))
	said, err := client.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := o.line.Near.Start(client); err != nil {
		return 0, err
	}
	text, err := io.ReadAll(said)
	if err := errors.Join(err, client.Wait()); err != nil {
		return 0, fmt.Errorf("iperf3: %w: %.300s", err, text)
	}
	return received(text)
}

// listens reports whether a server hears on the port, without a connection to it: it would serve that one alone.
func (o *ocean) listens(ctx context.Context) error {
	l, err := o.line.Far.Listen(ctx, net.JoinHostPort(o.line.Far.Addrs[0], tcpPort))
	if err != nil {
		return nil // it is taken
	}
	return errors.Join(errors.New("nobody listens"), l.Close())
}

// received reads what arrived of an answer of iperf3, in Mbit/s.
func received(text []byte) (float64, error) {
	var answer struct {
		End struct {
			Received struct {
				PerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, fmt.Errorf("answer of iperf3: %w", err)
	}
	if answer.End.Received.PerSecond == 0 {
		return 0, fmt.Errorf("iperf3 received nothing: %.300s", text)
	}
	return answer.End.Received.PerSecond / 1e6, nil
}

// lagTCP is how long chunks take that plain TCP with BBR carries at that rate.
func (o *ocean) lagTCP(ctx context.Context, bytesPerSecond float64) (late bench.Histogram, err error) {
	o.tcpBy = cmp.Or(o.tcpBy, ownTCP)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from := time.Now().Add(tcpWarmup)
	count := func(c net.Conn) {
		room := make([]byte, chunk)
		for {
			if _, err := io.ReadFull(c, room); err != nil {
				return
			}
			sent := time.Unix(0, int64(binary.LittleEndian.Uint64(room)))
			if sent.After(from) {
				late.Add(time.Since(sent))
			}
		}
	}
	speak := func(c net.Conn) error {
		data := make([]byte, chunk)
		return paced(ctx, bytesPerSecond/chunk, func() error {
			binary.LittleEndian.PutUint64(data, uint64(time.Now().UnixNano()))
			_, err := c.Write(data)
			return err
		})
	}
	err = o.overTCP(ctx, controls[0], count, speak, func() { pause(ctx, tcpWarmup+o.lasts) })
	return late, err
}

// paced calls do so many times a second until it fails or ctx ends. Who is late calls at once.
func paced(ctx context.Context, perSecond float64, do func() error) error {
	each := time.Duration(float64(time.Second) / perSecond)
	for at := time.Now(); ; at = at.Add(each) {
		pause(ctx, time.Until(at))
		if ctx.Err() != nil {
			return nil
		}
		if err := do(); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
