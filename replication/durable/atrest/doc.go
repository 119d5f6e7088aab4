// Package atrest is a filesystem whose files are encrypted on the disk. Whoever uses it reads and writes plain bytes,
// at any offset and in any order; what lies on the disk can be read only with the key.
//
// It promises:
//
//   - A1. Of a file made or opened for writing while there is an active key, no content reaches the filesystem below
//     but as ciphertext under that key. A file that lies there plain, or under another key, is written anew before it
//     is opened for writing ([FS.Renew]), unless that key was active since the filesystem was made (A6).
//   - A2. What [FS.OpenReadWrite] opens may be overwritten in place, as often as one likes. Who has several copies of a
//     disk, of several times, learns which 16 bytes of such a file stayed the same between them, and no more. What
//     [FS.Create] makes is written from front to back, and refuses to be overwritten.
//   - A3. What survives a power cut below survives it here: what was synced is there, whole, whatever was written
//     behind it later. What was not synced may read as other bytes than were ever written.
//   - A4. A file without a header is plain and is read as it is. One whose header is damaged is [ErrHeader]; one whose
//     key is not at hand is [ErrKey]. No file is taken for damaged because of a key that is missing.
//   - A5. Every file is encrypted under keys of its own, derived from the key and 16 random bytes: two files with one
//     content have nothing in common on the disk.
//   - A6. A key is added while files are in use ([FS.Change]): what is made from then on is under it. What is there
//     stays under the key it is under, for who has it open and for who opens it again: none is written anew for it,
//     which is for a time when nobody uses them ([FS.RenewAll]), and no key goes. A change that is refused changes
//     nothing.
//
// It hides content. Names, lengths and times of files are open, and so is which key a file is under. It is no
// protection against somebody who changes files: he can put back an older state or put down a plain file, and where he
// knows what a file of Create holds he can change it as he likes, checksums included. README.md has the bytes, and why.
//
// It is a filesystem of Pebble's, so that the store and, by way of package pebblefs, the library share it. It is safe
// for concurrent use as durable.FS and vfs.FS say. Several handles of one file may be open at once; all of them must
// come from one FS.
package atrest
