// Package profile says where the processor time of a node goes, and who has its heap, as shares by what code is for.
//
// It promises that shares of one profile make a whole, each sample counted once: by the first of the groups, in the
// order in which groupOf asks, that its stack belongs to. It reads what /debug/pprof/profile and /debug/pprof/heap
// give, and takes none itself.
package profile
