// Package packages makes what Mimir is installed from: packages of Debian and of RPM, an image, a chart, archives for
// other systems, each with what it was made of and the sums of all. It is a module of its own, so that none of what
// packs is ever linked into Mimir.
//
// It promises that the same source gives the same bytes, wherever and whenever it is built; that nothing that it
// installs starts, or is started again, by itself; that what people wrote into a configuration, and what a node keeps,
// outlives an upgrade and a removal; and that of each package a node was started by the tests.
//
// Its rooms:
//
//	build    the binaries, and what they say of themselves
//	linux    packages of Debian and of RPM, with the unit of systemd
//	image    the OCI image
//	chart    the Helm chart
//	bom      bills of material
//	packing  archives whose bytes depend on nothing but their content
//	trial    runs what was packed, for the tests
//	release  the command that makes all of them
package packages
