// Package goals says of figures whether they are what is wanted: what a node of Mimir is to be, in numbers, beside
// etcd, beside an echo server, and beside itself with less to do.
//
// It promises that a goal is judged by its figures alone, which stand beside it with the noise of the machine; that
// what was not measured is neither met nor missed, and says why; and that the section of a document is made of that.
// It measures nothing: command bench/all does.
package goals
