//go:build unix

package operator

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Tokens on a disk that hangs, here a pipe that nobody writes to, are those of before, for all who show one, and the
// log says so.
func TestTokensOnADiskThatHangs(t *testing.T) {
	tokens, file := tokensIn(t, "alice "+aliceToken+"\n")
	log := &lockedLog{}
	tokens.logger = slog.New(slog.NewTextHandler(log, nil))
	os.Remove(file)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skip("no pipes with names here: ", err)
	}
	known := make(chan int, 3)
	go func() {
		for range cap(known) {
			known <- len(tokens.current(time.Now().Add(rereadInterval)))
		}
	}()
	for range cap(known) {
		select {
		case n := <-known:
			if n != 1 {
				t.Errorf("%d tokens", n)
			}
		case <-time.After(time.Minute):
			t.Fatal("who shows a token waits for the disk")
		}
	}
	if text := log.String(); !strings.Contains(text, "their disk may hang") {
		t.Errorf("the log says %q", text)
	}
	out, err := os.OpenFile(file, os.O_WRONLY, 0) // whoever reads goes on
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
}
