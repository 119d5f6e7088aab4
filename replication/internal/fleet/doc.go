// Package fleet keeps a node's picture of the other regions: who leads them, where they are in the history, and which
// claim to be primary is the highest.
//
// It promises that a picture is never invented: every report is what a node said of itself, with the local time at
// which it was asked. A node that formed its region anew by itself does not speak for that region. It decides nothing:
// timeline has the rules of claims, standing reads off them who may write, and succession acts on them.
package fleet
