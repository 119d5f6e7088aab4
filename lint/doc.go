// Package lint holds the rules of the tree that matter enough to fail a test: which room may import which, that nothing
// under replication touches the machine's clock, files or network by itself, what a program links that embeds the
// library, how large files, functions and types may grow and how long a line, which key errors have in logs, and that
// the pages for newcomers name what is there, and the table of rooms as it is.
package lint
