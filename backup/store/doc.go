// Package store keeps objects by name, in a folder or in the bucket of an object storage.
//
// It promises:
//
//   - S1: an object is there whole or not at all. Once [Store.Put] has returned without error, it is durable; until
//     then, and if it fails, what had the name before is what is read.
//   - S2: what is read is what was put: bytes that came otherwise are an error, and no end.
//   - S3: nothing outside the folder, or behind the prefix of the bucket, is read, written or named.
//   - S4: a secret is in no error, no line of the log and no text of a place.
//   - S5: nothing waits for ever: a storage that takes or gives no byte for [Options.Stall] is an error, and so is a
//     folder whose disk does not answer. Of what was to be put or deleted there it is not known then whether it was:
//     the last of its steps may have been on its way.
//
// It leaves to its neighbours what the objects mean (backup, backup/schedule).
//
// Package storetest has the tests that every kind of store passes.
package store
