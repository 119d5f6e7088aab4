package stream

import (
	"github.com/klauspost/compress/zstd"
)

// newEncoder returns an encoder for EncodeAll, which may be called concurrently.
func newEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
		zstd.WithWindowSize(maxBatchBytes), zstd.WithEncoderCRC(false))
	if err != nil {
		panic("stream: constant encoder options refused: " + err.Error())
	}
	return e
}

// newDecoder returns a decoder for DecodeAll that never makes more than the room it is given.
func newDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("stream: constant decoder options refused: " + err.Error())
	}
	return d
}
