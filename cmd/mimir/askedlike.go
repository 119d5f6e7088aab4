package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// likeness are flags by which another command asks as this one did: whom, and how.
type likeness struct{ endpoints, rest string }

// given returns those that c was given. What the environment says it says to the next command too, and no password is
// shown.
func (n *connection) given(c *cobra.Command) (l likeness) {
	f := c.Flags()
	if f.Changed("endpoints") {
		l.endpoints = " --endpoints " + shellWord(strings.Join(n.endpoints, ","))
	}
	for _, name := range []string{"cacert", "cert", "key", "token-file"} {
		if f.Changed(name) {
			l.rest += " --" + name + " " + shellWord(f.Lookup(name).Value.String())
		}
	}
	if f.Changed("user") {
		user, _, _ := strings.Cut(n.who.user, ":")
		l.rest += " --user " + shellWord(user)
	}
	if n.insecure {
		l.rest += " --insecure-skip-tls-verify"
	}
	return l
}

// nextWhy stands between a command that helps and why it does.
const nextWhy = "   # "

// askedLike has the commands that help ask as this one did. Those that name nodes ask these.
func (f *fleetReport) askedLike(l likeness) {
	for i, text := range f.Next {
		command, why, _ := strings.Cut(text, nextWhy)
		if !strings.Contains(command, " --endpoints ") {
			command += l.endpoints
		}
		f.Next[i] = command + l.rest + nextWhy + why
	}
}

// shellWord writes a word as a shell of Unix reads it.
func shellWord(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
