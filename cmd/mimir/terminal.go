package main

import (
	"io"
	"os"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// visible is an output to which text goes that others said: names, problems and errors of nodes, keys, objects of a
// bucket. All that a command prints goes through one, so that nothing that others said does anything to a terminal:
// what is no character to look at, but for ends of lines and tabs, comes out as \u001b and the like. That is what JSON
// calls it too, so that JSON stays what it is. What mimir itself has to say to a terminal goes through control.
type visible struct {
	out io.Writer

	mu   sync.Mutex
	held []byte // the beginning of a character whose rest was not written yet
}

// Write implements io.Writer. It is safe for concurrent use.
func (s *visible) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := text
	if len(s.held) > 0 {
		whole = append(s.held, text...)
		s.held = nil
	}
	whole, rest := cutInside(whole)
	safe := escaped(whole)
	n, err := s.out.Write(safe)
	if err == nil && n < len(safe) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return min(n, len(text)), err
	}
	s.held = append(s.held, rest...)
	return len(text), nil
}

// cutInside returns a text without, and then, the beginning of a character at its end.
func cutInside(text []byte) (whole, rest []byte) {
	for at := len(text) - 1; at >= 0 && at > len(text)-utf8.UTFMax; at-- {
		if utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				return text[:at], text[at:]
			}
			break
		}
	}
	return text, nil
}

// escaped returns a text in which nothing does anything to a terminal. It is text itself if that is so already.
func escaped(text []byte) []byte {
	var out []byte
	kept := 0 // up to where out has it
	for at := 0; at < len(text); {
		if c := text[at]; c >= ' ' && c < 0x7f || c == '\n' || c == '\t' {
			at++
			continue
		}
		r, size := utf8.DecodeRune(text[at:])
		if r != utf8.RuneError && !unicode.Is(unicode.C, r) {
			at += size
			continue
		}
		out = append(out, text[kept:at]...)
		if r == utf8.RuneError {
			out = utf8.AppendRune(out, r)
		} else {
			out = appendEscape(out, r)
		}
		at += size
		kept = at
	}
	if kept == 0 {
		return text
	}
	return append(out, text[kept:]...)
}

// appendEscape appends a character as JSON writes it with letters alone.
func appendEscape(out []byte, r rune) []byte {
	const digits = "0123456789abcdef"
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return appendEscape(appendEscape(out, high), low)
	}
	return append(out, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// What is asked of a terminal: an empty line in the place of this one, to cut what is wider than it is (a line that
// goes on in the next one would stay there when it is replaced) and to wrap it again, and an empty screen.
const (
	clearLine   = "\r\033[K"
	cutLines    = "\033[?7l"
	wrapLines   = "\033[?7h"
	clearScreen = "\033[H\033[2J\033[3J"
)

// again shows a text in the place of the line that a terminal shows now.
func again(out io.Writer, text string) {
	if text == "" {
		control(out, clearLine) //nolint:errcheck // nobody looks any more
		return
	}
	if control(out, clearLine+cutLines) == nil {
		io.WriteString(out, text) //nolint:errcheck // likewise
		control(out, wrapLines)   //nolint:errcheck // likewise
	}
}

// control has a terminal do something: no word of it may be of others.
func control(out io.Writer, sequence string) error {
	if s, ok := out.(*visible); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		out = s.out
	}
	_, err := io.WriteString(out, sequence)
	return err
}

// isTerminal reports whether somebody looks at an output.
func isTerminal(out io.Writer) bool {
	if s, ok := out.(*visible); ok {
		out = s.out
	}
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
