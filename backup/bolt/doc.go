// Package bolt reads and writes files of bbolt, the format in which etcd keeps what it stores, as far as a whole file
// is read from its beginning to its end, or written so.
//
// It promises:
//
//   - A file is a stranger's bytes. [File.Each] ends on whatever they are: no page is read twice, nothing is read
//     beyond the file, no key comes twice or out of order; else the error is [ErrBroken] and names the page.
//   - What [Writer] wrote is a file of bbolt, with its keys in order and no free pages.
//
// The library of that format maps the file into memory and trusts what is in it: bytes that were not written by it end
// the process. So strangers' files are not given to it.
//
// It leaves to its neighbours what keys and values mean (backup/etcd).
package bolt
