// Package fleet runs a fleet of real mimir processes on this machine for acceptance tests, and does to them what the world does.
//
// It promises that every node is a process of its own that can be killed and started again on the same addresses and data, that all
// traffic between two regions passes links which can be slowed down and cut, and that no process outlives Close (on Linux not even if
// this process is killed). A cut link is silent, as a lost route is: connections stay open, and nothing gets through until Heal.
//
// It knows how a node is configured and nothing of what it serves; package e2e does.
package fleet
