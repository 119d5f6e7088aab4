// Package deploy holds what watches over Mimir, and is no part of it: rules and a dashboard, in files that are used as
// they are. It is a module of its own, so that Prometheus, whose engine judges them here, is never linked into Mimir.
//
// It promises that every alert fires when what it names happens, and ends when that has ended; that none fires in a
// fleet that is well; that every panel has data; that docs/operating.md shows the rules as they are; and that what etcd
// publishes for etcd evaluates against a fleet of Mimir too.
package deploy
