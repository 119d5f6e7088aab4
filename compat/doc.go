// Package compat holds Mimir against a real etcd: the same random sequences of requests go to both, and every response
// and every watch event is compared. It is a module of its own, so that the etcd server it embeds is never linked into
// Mimir.
//
// It promises nothing that Mimir could build on; it is where the promise of package etcdapi to etcd's clients is
// checked. What cannot be equal, and is therefore not compared, is listed in README.md.
package compat
