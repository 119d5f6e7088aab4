package grpctransport

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/transport"
)

// endless is somebody who sends one frame for as long as somebody reads.
type endless struct {
	net.Conn
	one, unread []byte
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(e.unread) == 0 {
			e.unread = e.one
		}
		more := copy(p[n:], e.unread)
		n, e.unread = n+more, e.unread[more:]
	}
	return n, nil
}

// However long somebody goes on who shows nothing, and whatever he sends, he is heard slowly; a node is heard at once,
// from its first stream on.
func TestStrangersAreHeardSlowly(t *testing.T) {
	for name, one := range map[string][]byte{
		"headers":    append([]byte{0, 0, 90, frameHeaders, 5, 0, 0, 0, 1}, make([]byte, 90)...),
		"resets":     {0, 0, 4, frameReset, 0, 0, 0, 0, 1, 0, 0, 0, 8},
		"empty data": {0, 0, 0, frameData, 0, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				from := &endless{one: one, unread: bytes.Repeat([]byte{' '}, prefaceBytes)}
				m := newMeter(from, from, &ledgers{most: 1 << 20, of: map[member]*ledger{}})
				buffer := make([]byte, 32<<10)
				listen := func(d time.Duration) (heard int) {
					for began := time.Now(); time.Since(began) < d; {
						n, err := m.Read(buffer)
						if err != nil {
							t.Fatal(err)
						}
						heard += n
					}
					return heard / len(one)
				}
				const minute = 60
				fast := strangerBytes / len(one) // what one read brings before he is known to go on
				if n := listen(minute * time.Second); n > strangerFrames+fast+(minute+1)*2*strangerRate {
					t.Errorf("%d frames in a minute", n)
				}
				end, err := m.begin(member{"fleet", transport.Caller{Node: "us-1", Region: "us"}})
				if err != nil {
					t.Fatal(err)
				}
				defer end()
				began := time.Now()
				for range 300 {
					if _, err := m.Read(buffer); err != nil {
						t.Fatal(err)
					}
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("a node waited %v", took)
				}
			})
		})
	}
}

// Whoever turns out to be a node while he is not heard is heard then, and who has left holds nothing any longer.
func TestNobodyWaitsOnceItIsSettledWhoHeIs(t *testing.T) {
	for name, settle := range map[string]func(*meter) error{
		"a node": func(m *meter) error {
			_, err := m.begin(member{"fleet", transport.Caller{Node: "us-1", Region: "us"}})
			return err
		},
		"one who left": (*meter).Close,
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer far.Close()
				m := newMeter(near, near, &ledgers{most: 1 << 20, of: map[member]*ledger{}})
				go far.Write(append(bytes.Repeat([]byte{' '}, prefaceBytes),
					bytes.Repeat([]byte{0, 0, 0, frameData, 0, 0, 0, 0, 1}, 3*strangerFrames)...))
				began := time.Now()
				if _, err := m.Read(make([]byte, prefaceBytes)); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(time.Millisecond, func() {
					if err := settle(m); err != nil {
						t.Error(err)
					}
				})
				m.Read(make([]byte, 32<<10))
				if took := time.Since(began); took != time.Millisecond {
					t.Errorf("he is heard after %v", took)
				}
			})
		})
	}
}
