// Package authority is a small certificate authority for fleets whose operators have none: two authorities in a
// directory, one of peers and one of clients, and the certificates of nodes, witnesses, clients and operators.
//
// It promises that keys are made on the machine where it runs, and are written with mode 0600 before anything else of
// them; that the certificate of a node names that node alone, as peer-tls.bind: node asks for; and that a file is
// replaced at once, so that a node which reads it meanwhile has the former one or the new one.
//
// It revokes nothing, and keeps no list of what it issued: docs/certificates.md has what to do about a stolen key. How
// files are laid out is as that page has it, so that either can go on with what the other made.
package authority
