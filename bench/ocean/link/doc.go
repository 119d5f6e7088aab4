// Package link is a long line between two network namespaces of this machine: delay, loss, a rate with a bounded queue,
// and cuts, all of which can be changed while packets cross.
//
// It promises that what crosses is IPv4 between the two ends alone, since the namespaces have no other interface but
// their loopback; that packets of one direction keep their order; that which of them are lost is said by the seed; and
// that nothing is left when its process has ended, however that was: namespaces have no name and devices are not
// persistent, so the kernel takes them back, and processes begun inside die with this one.
//
// The line is a process of its own, so that load does not hold up packets; programs that open one call Serve first.
// It works in user space, on TUN devices, and needs Linux, root, /dev/net/tun and the command ip; Open says which of
// them is missing by ErrUnavailable.
package link
