// Package pagecache is a filesystem that keeps what is written in memory until it is synced, as an operating system
// does, and as badly when a sync fails. It is for tests.
//
// It promises, of the content of files above the filesystem that it is given as the disk:
//
//   - What is written is seen by every reader at once, and reaches the disk with a sync, in whole pages.
//   - A sync that fails ([FS.FailSyncs]) forgets that the pages were to be written. They are read as before, for as
//     long as the FS lasts, and no later sync writes them: only who writes them anew finds them on the disk.
//   - A new FS above the same disk is the machine after it was started anew.
//
// Names are the disk's own affair and go through at once. To cut the power, bring a disk that forgets names, as that of
// package durable/pebblefs in memory, clone it as it would be left, and put a new FS above the clone.
package pagecache
