// Package grpctransport is the Transport of real processes: gRPC over HTTP/2 over TCP, with TLS where configured.
// README.md says what is on the wire.
//
// It promises what package transport does, and that sockets are tuned for long links and dead peers. Behind a [Port]
// several fleets share a listener: a stream reaches the fleet that it names, if its peer showed the key of that one,
// and what ends one fleet's streams does not end another's. It is a package of its own so that whoever brings another
// transport does not link gRPC.
package grpctransport
