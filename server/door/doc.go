// Package door lets connections in, and keeps descriptors for files.
//
// It promises that no more connections stand in a listener than it was given (D1); that only so many of them are
// strangers, who have not shown what they are, and each for a bounded time and a bounded number of bytes (D2); that a
// newcomer is not kept out by strangers, nor by those who ask nothing: where there is no room it takes the place of the
// one who has waited longest, which is told so before where there is a farewell, and heard out, and never of one with a
// request under way or an answer that has not arrived (D3); that a listener goes on whatever Accept says, until it is
// closed (D4); and that connections which come to nothing are so many a second at most from one address, and so many
// looked at in all, while those who prove their worth ([Prove]) cost nothing, and may come again once they have stayed
// (D5); it can be said where an address has many behind it ([Door.Crowds]), and asked of whom a connection is
// ([Party]). What is refused is closed at once, counted, and told in the log, not more often than every ten seconds for
// one reason.
//
// A connection that was let in can be asked to leave, and tells who wants to know of its end ([Farewell]). All can be
// asked to come anew, as there is room for that ([Door.Renew]).
//
// Who is a stranger no longer is said by whoever speaks with the connection: [Vouch]. [Split] divides the descriptors
// that the system gives to a process.
package door
