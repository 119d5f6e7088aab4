// Package operator says what needs the operator's right and who has it, and keeps the audit log.
//
// It promises:
//
//   - A call over gRPC or HTTP that the table does not have needs the operator's right.
//   - Where no way to have the right is in use everybody has it; else nobody who shows none. One way is enough: what
//     a rule of the node allows ([Ruled]) the API asks no user for.
//   - What needs the right is checked before its handler hears of it, whichever way it came: over gRPC, through the
//     JSON gateway, under /mimir/v1/.
//   - It is told to the audit log, allowed or refused: by whom, from where, with which arguments, and how it ended. No
//     value, password or token comes into it, and strangers who are refused cannot flood it.
//
// The right is checked where a call enters the fleet. What a node carries on for it, to the leader or another region,
// it asks in its own name, as a node. What a certificate is worth is decided by the listener, and what users and roles
// allow by etcdapi and kv: root is one more [Link].
package operator
