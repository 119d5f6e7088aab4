package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrNoTable says that a document has no place for the table of a command.
var ErrNoTable = errors.New("the document has no place for the table")

// Output is where a command puts its result.
type Output struct {
	Command string // its folder, by which it finds its table in a document
	JSON    string // a file; "": standard output
	Doc     string // a document that gets the table in its place; "": none
}

// Write writes the result, and its table to standard error and into the document.
func (o *Output) Write(result any, table string) error {
	p, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, table)
	if o.JSON == "" {
		fmt.Println(string(p))
	} else if err := os.WriteFile(o.JSON, append(p, '\n'), 0o644); err != nil {
		return err
	}
	if o.Doc == "" {
		return nil
	}
	if o.JSON == "" {
		return errors.New("-doc without -json: nothing would hold the document to a result")
	}
	was, err := os.ReadFile(o.Doc)
	if err != nil {
		return err
	}
	text, err := o.Written(string(was), table)
	if err != nil {
		return err
	}
	return os.WriteFile(o.Doc, []byte(text), 0o644)
}

// Written returns a document with the table between the lines that say that it is made; ErrNoTable if it has none.
func (o *Output) Written(document, table string) (string, error) {
	begins := "<!-- made by " + o.Command + ": begin -->\n"
	ends := "<!-- made by " + o.Command + ": end -->\n"
	before, rest, ok := strings.Cut(document, begins)
	_, after, closed := strings.Cut(rest, ends)
	if !ok || !closed {
		return "", fmt.Errorf("%w: between %q and %q", ErrNoTable, strings.TrimSpace(begins), strings.TrimSpace(ends))
	}
	return before + begins + table + ends + after, nil
}
