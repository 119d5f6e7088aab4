// Package whole makes files that are there whole or not at all, and reads those that strangers brought.
//
// It promises:
//
//   - W1: a file has its name only when [File.Publish] was called, durably, and takes nobody else's place where the
//     filesystem has links. Two that are made under one name at a time do not meet before that: the second one is told
//     that there is one.
//   - W2: what is opened is a regular file. A pipe or a device in its place, which could be waited for for ever, is
//     refused.
//   - W3: of what is read the errors of the disk, and of who waits no more, are told apart from what the content is.
//
// It leaves to its neighbours what is in the files.
package whole
