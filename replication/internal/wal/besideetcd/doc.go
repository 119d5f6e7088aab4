// Package walbench measures Mimir's log beside etcd's, on the same disk and in turns, so that what else the machine
// does hits both. It holds benchmarks only.
package walbench
