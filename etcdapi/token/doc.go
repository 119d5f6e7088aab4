// Package token makes the tokens that clients show after they have logged in, and says whose a token is.
//
// It promises:
//
//   - A token counts only until it expires, and only if the fleet's key has made it (simple tokens), or one that is
//     configured (JWT).
//   - A simple token counts at every node of every region, after a move and after a restart, since what is needed to
//     read it is in the replicated state. It ends with the user, with the password and with the next request to enable
//     authentication. None counts that would for longer than [MostTTL], but for what clocks differ.
//   - A JWT ends when it says, as etcd's. One that a node gave says which password was shown for it: it counts for no
//     more than that does.
//   - Nothing is kept of tokens, and none is logged.
//
// It leaves to kv/auth who the users are and what they may, and to etcdapi where requests carry tokens.
package token
