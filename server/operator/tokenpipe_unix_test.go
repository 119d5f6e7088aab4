//go:build unix

package operator

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// Tokens on a disk that hangs, here a pipe that nobody writes to, are those of before, for all who show one.
func TestTokensOnADiskThatHangs(t *testing.T) {
	tokens, file := tokensIn(t, "alice "+aliceToken+"\n")
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
	out, err := os.OpenFile(file, os.O_WRONLY, 0) // whoever reads goes on
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
}
