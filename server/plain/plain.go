// Package plain says what libraries report in words that an operator can read.
//
// It promises that who was asked and why it failed stays, and nothing that only a library's authors can read. Whatever
// shows people an error goes through here: the command line, the answers of the operator's protocol, the pictures of
// the fleet, and the console. What compares errors does so before (errors.Is): a text is for reading alone.
package plain

import (
	"regexp"
	"strings"
	"unicode"
)

// said is a pattern in the text of an error of a library, and what an operator reads instead.
type said struct {
	pattern *regexp.Regexp
	instead string
}

// libraries are the texts of gRPC, its transport and Go's contexts that may stand in an error. Each replaces all that
// tells an operator nothing, and keeps the address and the cause. A later one sees what earlier ones left.
var libraries = []said{
	{regexp.MustCompile(`rpc error: code = DeadlineExceeded desc = context deadline exceeded`),
		"no answer came in time"},
	{regexp.MustCompile(`rpc error: code = Unimplemented desc = unknown (?:service|method) \S+(?: for service \S+)?`),
		"it does not know this request: it is of an earlier version, or no Mimir node"},
	{regexp.MustCompile(`rpc error: code = (\w+|Code\(\d+\)) desc = *$`), "it failed, and says no more than $1"},
	{regexp.MustCompile(`rpc error: code = (?:\w+|Code\(\d+\)) desc = `), ""},
	{regexp.MustCompile(`connection error: desc = "transport: ((?:[^"\\]|\\.)*)"`), "$1"},
	{regexp.MustCompile(`\\"`), `"`}, // of what was in there
	{regexp.MustCompile(`(?i)error while dialing: `), ""},
	{regexp.MustCompile(`authentication handshake failed: `), "TLS failed: "},
	{regexp.MustCompile(`dial (?:tcp|unix) (\S+): connect: connection refused`),
		"nothing listens at $1 (connection refused)"},
	{regexp.MustCompile(`dial (?:tcp|unix) (\S+): i/o timeout`), "$1 does not take the connection"},
	{regexp.MustCompile(`(?:ask \S+ for [\w -]+: )?transport: peer unreachable: `), ""},
	{regexp.MustCompile(`dial tcp: lookup (\S+?)(?: on \S+)?: no such host`), "there is no machine of the name $1"},
	{regexp.MustCompile(`read (?:tcp|unix) \S+->(\S+): connection reset by peer`), "$1 closed the connection"},
	{regexp.MustCompile(`listen (?:tcp|unix) \S+: bind: cannot assign requested address`),
		"this machine has no such address"},
	{regexp.MustCompile(`\breplication: `), ""},
	{regexp.MustCompile(`required flag\(s\) (".*?") not set`), "usage: this needs the flag $1"},
	{regexp.MustCompile(`( flag): strconv\.\w+: parsing ".*?": (?:invalid syntax|value out of range)`), "$1"},
	{regexp.MustCompile(`( flag): time: .*? duration ".*?"`), "$1: no duration as 5s or 2m"},
	{regexp.MustCompile(`yaml: unmarshal errors: `), ""},
	{regexp.MustCompile("cannot unmarshal !!\\w+ (?:`(.*?)` )?into \\S+"), "`$1` is not what belongs there"},
	{regexp.MustCompile(`field (\S+) not found in type \S+`), `unknown key "$1"`},
	{regexp.MustCompile(`error reading (?:from server|server preface): `), ""},
	{regexp.MustCompile(`context deadline exceeded`), "no answer came in time"},
	// What was asked for may be done all the same.
	{regexp.MustCompile(`context canceled`), "it was ended before an answer came"},
}

// Text returns an error's text, as [Words] has it.
func Text(err error) string { return Words(err.Error()) }

// Words returns a text that may hold that of an error, in one line and in plain words. It does nothing to a terminal:
// what others say is text.
func Words(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.C, r) { // also what turns the direction of a line round
			return unicode.ReplacementChar
		}
		return r
	}, text)
	for _, s := range libraries {
		text = s.pattern.ReplaceAllString(text, s.instead)
	}
	return text
}
