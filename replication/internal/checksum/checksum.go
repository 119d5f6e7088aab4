// Package checksum is the one checksum of everything that this library writes to disks and wires: CRC-32C.
//
// It promises that a changed bit, and any burst of up to 32, is noticed. It is no protection against somebody who means
// it.
package checksum

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Of returns the checksum of p.
func Of(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// Add returns the checksum of what sum is the one of, followed by p.
func Add(sum uint32, p []byte) uint32 { return crc32.Update(sum, castagnoli, p) }
