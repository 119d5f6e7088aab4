// Package durable is the filesystem seam, and files that survive a power cut.
//
// [FS] is all that the library asks of a filesystem, and [OS] is the one of the machine. Whoever embeds the library may
// bring another: package durable/pebblefs makes one of Pebble's, among them one in memory that can be cut from its
// power.
//
// [MakeDir] and [WriteFile] promise that what they made survives a power cut once they return: what is written is
// synced, and so is every directory that gained a name. What they could not make takes no room. [Full] tells an error
// for lack of it from others, and [ErrUnsettled] one after which what was written is there all the same. A process that
// ended before they returned may have left names that only look durable: [Settle] makes them so, for who goes on.
//
// It leaves to its neighbours what the files mean. It is safe for concurrent use on different paths.
package durable
