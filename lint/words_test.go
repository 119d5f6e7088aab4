package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logCalls are the methods of a slog.Logger that take keys, with the number of arguments before the first key.
var logCalls = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "With": 0,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "Log": 3,
	"Any": 0, "String": 0,
}

// wrongKeys are other words for what is "err" in a log.
var wrongKeys = []string{"error", "errors", "cause", "reason", "why", "failure"}

// One search finds every error of a log: its key is "err".
func TestErrorsHaveOneKeyInLogs(t *testing.T) {
	for _, f := range tree(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			first, logs := logCalls[method.Sel.Name]
			if !logs || len(call.Args) < first+2 {
				return true
			}
			for _, argument := range call.Args[first:] {
				text, ok := argument.(*ast.BasicLit)
				if !ok || text.Kind != token.STRING {
					continue
				}
				if key, err := strconv.Unquote(text.Value); err == nil && slices.Contains(wrongKeys, key) {
					t.Errorf("%s: the key %q of a log; errors have the key \"err\"", f.set.Position(text.Pos()), key)
				}
			}
			return true
		})
	}
}

// givenUp are words of before, with those of the glossary in ARCHITECTURE.md that took their place: a thing has one.
var givenUp = map[string]string{
	"spokesman": "representative", "diary": "operations", "journal": "trace", "lane": "peer stream",
}

// TestThingsHaveTheWordsOfTheGlossary: nothing of the library, the store or the simulation is declared under a word
// that was given up.
func TestThingsHaveTheWordsOfTheGlossary(t *testing.T) {
	for _, f := range tree(t) {
		if !within(f.room, "replication") && !within(f.room, "kv") && !within(f.room, "sim") {
			continue
		}
		for name := range declarations(f) {
			if word, ok := givenUp[strings.ToLower(name)]; ok {
				t.Errorf("%s declares %s; the glossary says %s", f.path, name, word)
			}
		}
	}
}
