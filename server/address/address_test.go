package address

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Address{
		"127.0.0.1:2379":        {"", "127.0.0.1:2379"},
		"[::1]:2379":            {"", "[::1]:2379"},
		"[fe80::1%eth0]:2379":   {"", "[fe80::1%eth0]:2379"},
		":0":                    {"", ":0"},
		"http://a:1":            {"http", "a:1"},
		"https://a:1/":          {"https", "a:1"},
		"unix:///run/m.sock":    {"unix", "/run/m.sock"},
		"unixs://localhost:123": {"unixs", "localhost:123"},
	} {
		if got, err := Parse(text); got != want || err != nil {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                                    "want host:port",
		"a":                                   "want host:port",
		"a:b":                                 `port "b" is not between 0 and 65535`,
		"a:-1":                                `port "-1"`,
		"::1:2379":                            "with an IPv6 address in brackets: [::1]:2379",
		"http://a:1/v3":                       "nothing behind it",
		"http://a":                            "want host:port",
		"ftp://a:1":                           `scheme "ftp" is unknown: use http, https, unix or unixs`,
		"unix://":                             "want unix:///path",
		"unix:///run/":                        "want unix:///path",
		"unix:///" + strings.Repeat("x", 200): "at most 103 bytes, this one 201",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if list, err := ParseList("a:1, b:2,unix:///c"); len(list) != 3 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := ParseList(" ,"); err == nil {
		t.Error("no address is a list")
	}
}

func TestMeet(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"127.0.0.1:1", "127.0.0.1:1"}:        true,
		{"127.0.0.1:1", "127.0.0.1:2"}:        false,
		{"127.0.0.1:0", "127.0.0.1:0"}:        false,
		{"127.0.0.1:1", "127.0.0.2:1"}:        false,
		{"0.0.0.0:1", "127.0.0.1:1"}:          true,
		{"0.0.0.0:1", "[::]:1"}:               false,
		{"0.0.0.0:1", "[::1]:1"}:              false,
		{":1", "[::1]:1"}:                     true,
		{":1", "127.0.0.1:1"}:                 true,
		{"[::1]:1", "[0:0:0:0:0:0:0:1]:1"}:    true,
		{"localhost:1", "http://localhost:1"}: true,
		{"unix:///a", "unixs:///a"}:           true,
		{"unix:///a", "unix:///b"}:            false,
		{"unix:///a", ":1"}:                   false,
	} {
		a, _ := Parse(pair[0])
		b, _ := Parse(pair[1])
		if a.Meet(b) != want || b.Meet(a) != want {
			t.Errorf("%v meet: %t, %t; want %t", pair, a.Meet(b), b.Meet(a), want)
		}
	}
}

func TestWhatAnAddressSays(t *testing.T) {
	for text, want := range map[string]struct {
		url, secureURL             string
		secure, reachable, exposed bool
	}{
		"127.0.0.1:1": {"http://127.0.0.1:1", "https://127.0.0.1:1", true, true, false},
		"[::1]:1":     {"http://[::1]:1", "https://[::1]:1", true, true, false},
		"http://a:1":  {"http://a:1", "http://a:1", false, true, true},
		"[::]:1":      {"http://[::]:1", "https://[::]:1", true, false, true},
		":1":          {"http://:1", "https://:1", true, false, true},
		"a:0":         {"http://a:0", "https://a:0", true, false, true},
		"unix:///a":   {"unix:///a", "unix:///a", false, true, false},
		"unixs:///a":  {"unixs:///a", "unixs:///a", true, true, false},
	} {
		a, err := Parse(text)
		if err != nil || a.URL(false) != want.url || a.URL(true) != want.secureURL || a.Secure(true) != want.secure ||
			a.Reachable() != want.reachable || a.Exposed() != want.exposed {
			t.Errorf("%s: %+v, %v", text, a, err)
		}
	}
}
