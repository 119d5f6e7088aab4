// Package lint holds the rules of the tree that matter enough to fail a test: which room may import which, that nothing under
// replication touches the machine's clock, files or network by itself, what a program links that embeds the library, and how large files and
// functions may grow.
package lint
