// Package fleetfile makes the settings of all nodes of a fleet out of one file.
//
// It promises that what it makes agrees: every node has the same regions, primary and witnesses, and its own name and
// addresses; names and addresses are given once. It decides nothing about a running fleet, and reads and writes no
// files but the one: which nodes a region has once it runs is in that region's log.
//
// What a setting means, and whether it can be, is known by package server, which loads what comes out of here.
package fleetfile
