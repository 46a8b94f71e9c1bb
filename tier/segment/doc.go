// Package segment is the format of the cold object: one range of a partition's record batches as it lies in object
// storage, with all that a reader needs to serve it and all that a restore needs to know whose it is.
//
// # Layout, version 1
//
// Numbers are big-endian. Positions count from the segment's first byte, because a segment may lie anywhere in a
// larger object.
//
//	header   16 bytes: magic "firn-seg", version u16, zero u16, CRC-32C u32 of the 12 bytes before it
//	chunks   one after another, without gaps: whole record batches, byte for byte as they were produced, about
//	         1 MiB of them, stored raw or as one zstd frame
//	index    blocks, one after another: type u16, flags u16 (1 = required), length u32, payload, CRC-32C u32 of all that
//	footer   48 bytes: index position u64, index length u64, segment length u64, index CRC-32C u32, version u16,
//	         zero u16, zero u32, CRC-32C u32 of the 36 bytes before it, magic "firn-end"
//
// The blocks are listed in block.go. A reader skips a block that it does not know, unless the block is required: then
// it refuses the segment. A change that old readers survive is a new optional block; one that they do not is a required
// block or, if the layout itself changes, a new version. Every version has golden files in testdata, which stay readable
// for ever.
//
// # Invariants
//
//   - Chunks tile [Meta.Base, Meta.Next) in order, and their bytes tile the space between header and index.
//   - No byte of a chunk is decompressed before its CRC-32C was checked (I-25).
//   - The same input gives the same bytes (with the same version of the zstd library).
//   - An index that parses is consistent in itself: whoever holds an *Index need not check it again. Whether it is true
//     of the data is what Verify tells (I-16).
//
// The package is pure: it writes to the io.Writer and reads from the io.ReaderAt that it is given, and has no goroutine,
// lock or clock. It deliberately does not talk to a store, cache anything, or decide what goes into a segment.
package segment
