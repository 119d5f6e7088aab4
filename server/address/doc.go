// Package address says where a node listens and where it is reached: a host and a port, or a socket of the machine.
//
// It promises that an address means the same wherever it is written, in a setting of Mimir or as a URL of etcd (A1):
//
//	host:port, [::1]:port         TLS if the block of the listener is set
//	http://host:port              plaintext, whatever is set
//	https://host:port             TLS
//	unix:///path                  a socket of this machine, plaintext
//	unixs:///path                 a socket of this machine, with TLS
//
// that a list of them is one listener, whose connections say whether they are to be secured (A2), in which a wildcard
// of one family leaves the other to whoever names it beside it (A3); and that a socket which a process left behind
// is replaced, and one that is in use is not (A4).
package address
