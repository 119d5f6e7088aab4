package operator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/etcdapi/reread"
)

// MinTokenBytes is how long a token is at least.
const MinTokenBytes = 32

// rereadInterval bounds how often the file is looked at.
const rereadInterval = 5 * time.Second

// Tokens is the right of those who show a token of a file, which is read again when it changes. It is safe for
// concurrent use.
type Tokens struct {
	file   string
	logger *slog.Logger

	turn reread.Turn // who looks at the file

	mu      sync.Mutex
	known   []token
	sum     [sha256.Size]byte // of the file that was read
	problem string            // that was told last
}

// token is what is kept of one: all have the same length, whatever they are.
type token struct {
	name string
	sum  [sha256.Size]byte
}

// OpenTokens reads a file of tokens, one a line, each of at least MinTokenBytes, with a name before it or without one.
// Lines that begin with # are left out.
func OpenTokens(file string, logger *slog.Logger) (*Tokens, error) {
	t := &Tokens{file: file, logger: logger}
	var err error
	if t.known, t.sum, err = readTokens(file); err != nil {
		return nil, err
	}
	if len(t.known) == 0 {
		return nil, fmt.Errorf("%s: no token is in it", file)
	}
	t.turn.Hung = func() {
		t.logger.Error("operators' tokens not read again, their disk may hang: those of before hold", "file", file)
	}
	t.turn.Looked(time.Now())
	return t, nil
}

// Used implements [Link].
func (t *Tokens) Used() bool { return true }

// Operator implements [Link]. How long it takes does not tell how much of a token is right.
func (t *Tokens) Operator(_ context.Context, caller *Caller) (who string, err error) {
	if len(caller.Tokens) == 0 {
		return "", errors.New("no token was shown (mimir --token-file or MIMIR_TOKEN_FILE, etcdctl --auth-jwt-token)")
	}
	known := t.current(time.Now())
	for _, shown := range caller.Tokens {
		sum := sha256.Sum256([]byte(shown))
		for _, one := range known {
			if subtle.ConstantTimeCompare(sum[:], one.sum[:]) == 1 {
				who = "token " + one.name
			}
		}
	}
	if who == "" {
		return "", errors.New("the token that was shown is not in operator.token-file")
	}
	return who, nil
}

// current returns the tokens as the file has them. A file that cannot be read leaves the former ones.
func (t *Tokens) current(now time.Time) []token {
	t.turn.Look(now, rereadInterval, t.look)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known
}

// look takes what the file has, if that is something else. What its time and its size are says nothing: a token is
// exchanged for one of the same length.
func (t *Tokens) look() {
	known, sum, err := readTokens(t.file)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil && sum == t.sum:
		t.problem = ""
	case err == nil:
		t.known, t.sum, t.problem = known, sum, ""
		t.logger.Info("operators' tokens read again", "file", t.file, "tokens", len(t.known))
	case err.Error() != t.problem:
		t.problem = err.Error()
		t.logger.Error("operators' tokens not read again: those of before hold", "err", err)
	}
}

// readTokens returns what a file has, and the sum of it.
func readTokens(file string) (known []token, sum [sha256.Size]byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, sum, err
	}
	lines, err := parseTokens(file, text)
	if err != nil {
		return nil, sum, err
	}
	for i, line := range lines {
		name := line.name
		if name == "" {
			name = fmt.Sprint("number ", i+1)
		}
		known = append(known, token{name, sha256.Sum256(line.token)})
	}
	return known, sha256.Sum256(text), nil
}

type tokenLine struct {
	name  string
	token []byte
}

func parseTokens(file string, text []byte) (lines []tokenLine, err error) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		one := tokenLine{token: fields[len(fields)-1]}
		switch {
		case len(fields) > 2:
			return nil, fmt.Errorf("%s: a line of %d words: write a token, or a name and a token", file, len(fields))
		case len(one.token) < MinTokenBytes:
			return nil, fmt.Errorf("%s: a token of %d characters, at least %d are needed", file, len(one.token),
				MinTokenBytes)
		case len(fields) == 2:
			one.name = string(fields[0])
		}
		lines = append(lines, one)
	}
	return lines, nil
}

// ReadToken returns the first token of a file in the form of [OpenTokens], for who is to show it.
func ReadToken(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	lines, err := parseTokens(file, text)
	if err != nil {
		return "", err
	}
	if len(lines) == 0 {
		return "", fmt.Errorf("%s: no token is in it", file)
	}
	return string(lines[0].token), nil
}
