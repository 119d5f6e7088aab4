package atrest

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

const (
	blockBytes = aes.BlockSize
	// unitBytes is how much is encrypted with one chain of tweaks: a sector.
	unitBytes = 512
	// xtsKeyBytes is two keys of AES-256.
	xtsKeyBytes = 64
)

// xts is AES-256 in XTS mode (IEEE 1619), for data at an offset: a block of 16 bytes becomes another one with each key,
// offset and content, and no two places have anything in common. It is safe for concurrent use.
type xts struct{ data, tweak cipher.Block }

// newXTS takes xtsKeyBytes bytes.
func newXTS(key []byte) (*xts, error) {
	data, err := aes.NewCipher(key[:xtsKeyBytes/2])
	if err != nil {
		return nil, err
	}
	tweak, err := aes.NewCipher(key[xtsKeyBytes/2 : xtsKeyBytes])
	if err != nil {
		return nil, err
	}
	return &xts{data, tweak}, nil
}

// encrypt encrypts b, which is at offset, in place. Both are multiples of blockBytes.
func (x *xts) encrypt(b []byte, offset int64) { x.each(b, offset, x.data.Encrypt) }

// decrypt is the opposite.
func (x *xts) decrypt(b []byte, offset int64) { x.each(b, offset, x.data.Decrypt) }

func (x *xts) each(b []byte, offset int64, step func(dst, src []byte)) {
	var start [blockBytes]byte
	for len(b) > 0 {
		within := offset % unitBytes
		clear(start[:])
		binary.LittleEndian.PutUint64(start[:], uint64(offset/unitBytes))
		x.tweak.Encrypt(start[:], start[:])
		low, high := binary.LittleEndian.Uint64(start[:]), binary.LittleEndian.Uint64(start[8:])
		for ; within > 0; within -= blockBytes {
			low, high = double(low, high)
		}
		unit := b[:min(int64(len(b)), unitBytes-offset%unitBytes)]
		b, offset = b[len(unit):], offset+int64(len(unit))
		for ; len(unit) > 0; unit = unit[blockBytes:] {
			block := unit[:blockBytes:blockBytes]
			mix(block, low, high)
			step(block, block)
			mix(block, low, high)
			low, high = double(low, high)
		}
	}
}

func mix(block []byte, low, high uint64) {
	binary.LittleEndian.PutUint64(block, binary.LittleEndian.Uint64(block)^low)
	binary.LittleEndian.PutUint64(block[8:], binary.LittleEndian.Uint64(block[8:])^high)
}

// double multiplies a tweak by x in the field of 2¹²⁸ elements.
func double(low, high uint64) (uint64, uint64) {
	carry := -(high >> 63) & 0x87
	return low<<1 ^ carry, high<<1 | low>>63
}
