package fleetfile

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// ofWitnesses are the settings of nodes that a witness has too, as flags of these names: it shows what nodes ask of
// each other, and asks for it. Those that settings of every node say hold for it as well.
var ofWitnesses = []string{
	"crowds", "fleet-key-file", "fleet-key-optional", "peer-tls-allowed-cn", "peer-tls-allowed-hostname",
	"peer-tls-bind", "peer-tls-ca", "peer-tls-cert", "peer-tls-crl", "peer-tls-key", "peer-tls-require-client-cert",
	"tls-cipher-suites", "tls-max-version", "tls-min-version",
}

// ofOneWitness are those that only its own settings say: what keys a directory is under is of that directory.
var ofOneWitness = []string{"encryption-key-file"}

// command returns a script that runs a witness: it has no file of settings.
func (f *Fleet) command(m Member) ([]byte, error) {
	words := []string{"--name " + quote(m.Name), "--fleet " + quote(f.Fleet), "--listen " + quote(m.Node.Peer),
		"--data-dir " + quote(m.Node.DataDir)}
	if m.Node.HTTP != "" {
		words = append(words, "--listen-http "+quote(m.Node.HTTP))
	}
	own, err := f.witnessFlags(m)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", m.Name, err)
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		between := " "
		if own[name] == "true" || own[name] == "false" { // behind a space it would be an argument
			between = "="
		}
		words = append(words, "--"+name+between+quote(own[name]))
	}
	const script = "#!/bin/sh\n%s\n# MIMIR is the program, if it is not in PATH.\n" +
		"exec \"${MIMIR:-mimir}\" witness \\\n  %s\n"
	return fmt.Appendf(nil, script, Mark, strings.Join(words, " \\\n  ")), nil
}

// witnessFlags are what a witness is told beside its name and place.
func (f *Fleet) witnessFlags(m Member) (map[string]string, error) {
	secured := map[string]any{}
	if f.TLS != nil {
		at := func(file string) string { return path.Join(named(f.TLS.Dir, m.Name), file) }
		secured["peer-tls"] = map[string]any{"cert": at(PeerCert), "key": at(PeerKey), "ca": at(PeerCA), "bind": "node"}
	}
	for name := range flagsOf(m.Node.Settings) {
		if !slices.Contains(ofWitnesses, name) && !slices.Contains(ofOneWitness, name) {
			return nil, fmt.Errorf("a witness has no setting %s", name)
		}
	}
	shared, err := merged(secured, f.Settings)
	if err != nil {
		return nil, err
	}
	flags := flagsOf(shared)
	maps.DeleteFunc(flags, func(name, _ string) bool { return !slices.Contains(ofWitnesses, name) })
	maps.Copy(flags, flagsOf(m.Node.Settings))
	maps.DeleteFunc(flags, func(_, value string) bool { return value == "" })
	return flags, nil
}

// flagsOf returns settings by the names of their flags, a list as one value.
func flagsOf(settings map[string]any) map[string]string {
	flags := map[string]string{}
	for key, value := range settings {
		key = strings.ReplaceAll(key, ".", "-")
		switch value := value.(type) {
		case map[string]any:
			for below, text := range flagsOf(value) {
				flags[key+"-"+below] = text
			}
		case []any:
			var parts []string
			for _, one := range value {
				parts = append(parts, fmt.Sprint(one))
			}
			flags[key] = strings.Join(parts, ",")
		case nil:
			flags[key] = ""
		default:
			flags[key] = fmt.Sprint(value)
		}
	}
	return flags
}

// quote writes a word for a shell.
func quote(word string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,"
	if strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
