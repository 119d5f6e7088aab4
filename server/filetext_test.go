package server

import (
	"errors"
	"strings"
	"testing"
)

// inFile is a setting as a file has it.
func inFile(key, text string) string {
	nested, closing := "", ""
	for part := range strings.SplitSeq(key, ".") {
		nested, closing = nested+"{"+part+": ", closing+"}"
	}
	return nested + text + closing
}

// Whatever is written for a number, a size or a duration means in the file what it means on the command line, or is
// refused at both.
func TestFileAndFlagAgreeOnNumbers(t *testing.T) {
	for i := range settings {
		s := &settings[i]
		if s.number == nil {
			continue
		}
		for _, text := range []string{
			"0", "1", "7", "+7", "-1", "0.5", "-0.5", "7.25", ".nan", ".inf", "-.inf", "0s", "1s", "1m30s",
			"1.5h", "1KiB", "2 MiB", "many", "9223372036854775807", "9223372036854775808",
		} {
			byFile, byFlag := DefaultConfig(), DefaultConfig()
			file := decode("config.yaml", []byte(inFile(s.key, text)), &byFile)
			flag := flagValue{s, &byFlag}.Set(text)
			switch {
			case (file == nil) != (flag == nil):
				t.Errorf("%s %s: the file says %v, the flag %v", s.key, text, file, flag)
			case file == nil && s.get(&byFile) != s.get(&byFlag):
				t.Errorf("%s %s: the file means %s, the flag %s", s.key, text, s.get(&byFile), s.get(&byFlag))
			case file != nil && (!errors.Is(file, ErrConfig) || !strings.HasPrefix(file.Error(),
				"configuration: config.yaml:1: ")):
				t.Errorf("%s %s: refused without its place: %v", s.key, text, file)
			}
		}
		for _, none := range []string{"", "null", "~"} {
			c := DefaultConfig()
			before := s.get(&c)
			if err := decode("config.yaml", []byte(inFile(s.key, none)), &c); err != nil || s.get(&c) != before {
				t.Errorf("%s %q: %v, and %s; want the default, %s", s.key, none, err, s.get(&c), before)
			}
		}
	}
}

// A whole number is one however YAML writes it, and no other number is taken for one.
func TestCountsOfTheFile(t *testing.T) {
	for text, want := range map[string]int{"0x10": 16, "1e3": 1000, "1_000": 1000, "1000.0": 1000} {
		c := DefaultConfig()
		err := decode("config.yaml", []byte("{failover: {max-loss: "+text+"}}"), &c)
		if err != nil || c.Failover.MaxLoss != want {
			t.Errorf("%s: %d, %v", text, c.Failover.MaxLoss, err)
		}
	}
	c := DefaultConfig()
	err := decode("config.yaml", []byte("failover:\n  max-loss: 0.5\n"), &c)
	if want := "config.yaml:2: 0.5 is not a whole number"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
