// Package fleet keeps a node's picture of the other regions: who leads them, where they are in the history, and which
// claim to be primary is the highest.
//
// It promises that a picture is never invented: every report is what a node said of itself, with the local time at
// which it was asked. Nodes of another life of a region than its own do not speak for it. It decides
// nothing: timeline has the rules of claims, standing reads off them who may write, and succession acts on them.
package fleet
