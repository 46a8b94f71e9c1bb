package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/record"
)

func sectionOf(r io.ReaderAt, off, n int64) io.ReaderAt { return io.NewSectionReader(r, off, n) }

// rebuild makes a segment again from another's chunks and the index blocks given.
func rebuild(seg, index []byte) []byte {
	f, err := parseFooter(seg[len(seg)-FooterSize:], int64(len(seg)))
	if err != nil {
		panic(err)
	}
	out := append(bytes.Clone(seg[:f.indexPosition]), index...)
	f.indexLength, f.indexCRC = int64(len(index)), crc32.Checksum(index, castagnoli)
	f.length = int64(len(out)) + FooterSize
	return f.append(out)
}

// indexOf is the blocks of a segment.
func indexOf(seg []byte) []byte {
	f, _ := parseFooter(seg[len(seg)-FooterSize:], int64(len(seg)))
	return bytes.Clone(seg[f.indexPosition : f.indexPosition+f.indexLength])
}

// editBlock changes the payload of one block and makes its CRC right.
func editBlock(index []byte, kind blockType, f func(payload []byte) []byte) []byte {
	var out []byte
	for len(index) > 0 {
		b, rest, err := nextBlock(index)
		if err != nil {
			panic(err)
		}
		if b.kind == kind {
			b.payload = f(bytes.Clone(b.payload))
		}
		out, index = appendBlock(out, b.kind, b.flags, b.payload), rest
	}
	return out
}

func openBytes(seg []byte) (*Index, error) { return Open(bytes.NewReader(seg), int64(len(seg))) }

// I-25: no bit of a stored segment can change unseen: header, index and footer by Open, chunks by DecodeChunk.
func TestEveryFlippedBitIsSeen(t *testing.T) {
	for _, compression := range []Compression{CompressionNone, CompressionZstd} {
		seg, _ := write(t, WriterOptions{Meta: testMeta, State: testState, ChunkBytes: 300, Compression: compression},
			batches(1000, 1010, nil))
		for i := range len(seg) * 8 {
			bad := bytes.Clone(seg)
			bad[i/8] ^= 1 << (i % 8)
			ix, err := openBytes(bad)
			if err == nil {
				err = decodeAll(ix, bad)
			}
			require.Error(t, err, "bit %d", i)
		}
	}
}

func decodeAll(ix *Index, seg []byte) error {
	for _, c := range ix.Chunks() {
		if _, err := DecodeChunk(nil, seg[c.Position:c.Position+int64(c.Length)], c); err != nil {
			return err
		}
	}
	return nil
}

func TestEveryCutIsSeen(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, State: testState}, batches(1000, 1010, nil))
	for n := range seg {
		_, err := openBytes(seg[:n])
		require.Error(t, err, "%d bytes", n)
		_, err = ParseIndex(seg[:n], int64(n))
		require.Error(t, err, "%d bytes", n)
		_, err = ParseIndex(seg[n:], int64(len(seg))+1)
		require.Error(t, err)
	}
}

// I-25: the CRC is checked before a byte is decompressed: a frame that is good, but not the one that was stored, is
// refused; and a frame that was stored but says other than the index is refused too.
func TestDecodeChunkChecksFirst(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, Compression: CompressionZstd}, batches(1000, 1200, nil))
	ix, _ := read(t, seg)
	c := ix.Chunks()[0]
	require.True(t, c.Compressed)
	other, err := record.Compress(nil, batches(2000, 2200, nil), record.Zstd)
	require.NoError(t, err)
	bad := c
	bad.Length = len(other)
	_, err = DecodeChunk(nil, other, bad)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "CRC-32C")

	stored := seg[c.Position : c.Position+int64(c.Length)]
	_, err = DecodeChunk(nil, stored[:len(stored)-1], c)
	require.ErrorIs(t, err, ErrCorrupt)
	for _, raw := range []int{c.RawLength - 1, c.RawLength + 1, math.MaxUint32} {
		bad = c
		bad.RawLength = raw
		out, err := DecodeChunk([]byte("dst"), stored, bad)
		require.ErrorIs(t, err, ErrCorrupt)
		require.Equal(t, "dst", string(out))
	}
	garbage := []byte("not a frame")
	bad = Chunk{Length: len(garbage), RawLength: 100, Compressed: true, CRC32C: crc32.Checksum(garbage, castagnoli)}
	_, err = DecodeChunk(nil, garbage, bad)
	require.ErrorIs(t, err, ErrCorrupt)
}

// A newer firn's segment: an optional block is skipped, a required one and a newer version are refused with a sentence.
func TestUnknownBlocks(t *testing.T) {
	data := batches(1000, 1010, nil)
	seg, _ := write(t, WriterOptions{Meta: testMeta}, data)
	index := indexOf(seg)
	_, out := read(t, rebuild(seg, appendBlock(index, 99, 0, []byte("who knows"))))
	require.Equal(t, data, out)
	_, out = read(t, rebuild(seg, appendBlock(appendBlock(index, blockKeys, 0, nil), blockHashChain, 0, nil)))
	require.Equal(t, data, out)
	for kind, words := range map[blockType]string{99: "type 99 (unknown)", blockEncryption: "type 8 (encryption)"} {
		_, err := openBytes(rebuild(seg, appendBlock(index, kind, flagRequired, nil)))
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorContains(t, err, words)
	}
	newer := rebuild(seg, index)
	f := newer[len(newer)-FooterSize:]
	binary.BigEndian.PutUint16(f[28:], 2)
	binary.BigEndian.PutUint32(f[36:], crc32.Checksum(f[:36], castagnoli))
	_, err := openBytes(newer)
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "version 2")
	flags := editBlock(index, blockChunks, func(p []byte) []byte { p[4+36] = 2; return p })
	_, err = openBytes(rebuild(seg, flags))
	require.ErrorIs(t, err, ErrUnsupported)
}

// An index whose checksums are right and whose numbers are not never becomes an *Index.
func TestIndexThatContradictsItself(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, State: testState, ChunkBytes: 1}, batches(1000, 1010, nil))
	index := indexOf(seg)
	put64 := func(pos int, v int64) func([]byte) []byte {
		return func(p []byte) []byte { binary.BigEndian.PutUint64(p[pos:], uint64(v)); return p }
	}
	put32 := func(pos int, v uint32) func([]byte) []byte {
		return func(p []byte) []byte { binary.BigEndian.PutUint32(p[pos:], v); return p }
	}
	metaAt := 2 + len(testMeta.ClusterID) + 16 + 2 + len("events") // of the partition number
	second := 4 + chunkEntry
	for name, tt := range map[string]struct {
		kind blockType
		f    func([]byte) []byte
	}{
		"partition negative":         {blockMeta, put32(metaAt, 1<<31)},
		"base above next":            {blockMeta, put64(metaAt+4, 5000)},
		"base not the first chunk's": {blockMeta, put64(metaAt+4, 999)},
		"next not the last chunk's":  {blockMeta, put64(metaAt+12, 1011)},
		"data bytes":                 {blockMeta, put64(metaAt+24, 1)},
		"greatest timestamp beyond":  {blockMeta, put64(metaAt+48, 1010)},
		"meta cut":                   {blockMeta, func(p []byte) []byte { return p[:len(p)-1] }},
		"meta too long":              {blockMeta, func(p []byte) []byte { return append(p, 0) }},
		"meta text too long":         {blockMeta, func(p []byte) []byte { p[0] = 0xff; return p }},
		"chunk count too large":      {blockChunks, put32(0, 1<<31)},
		"chunk count too small":      {blockChunks, put32(0, 1)},
		"chunk gap":                  {blockChunks, put64(second, 1006)},
		"chunk empty range":          {blockChunks, put64(second+8, 1005)},
		"chunk position":             {blockChunks, put64(second+16, 17)},
		"chunk length":               {blockChunks, put32(second+24, 7)},
		"chunk length 0":             {blockChunks, func(p []byte) []byte { return put32(second+24, 0)(put32(second+28, 0)(p)) }},
		"chunk raw length":           {blockChunks, put32(second+28, 1<<31)},
		"epochs go back":             {blockEpochs, put32(4, 6)},
		"epoch starts go back":       {blockEpochs, put64(8, 701)},
		"epochs cut":                 {blockEpochs, func(p []byte) []byte { return p[:len(p)-1] }},
		"producer batches":           {blockProducers, func(p []byte) []byte { p[4+30] = 255; return p }},
		"aborted count":              {blockAborted, put32(0, 3)},
	} {
		_, err := openBytes(rebuild(seg, editBlock(index, tt.kind, tt.f)))
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	_, err := openBytes(rebuild(seg, nil))
	require.ErrorIs(t, err, ErrCorrupt, "no blocks at all")
	_, err = openBytes(rebuild(seg, append(index, index...)))
	require.ErrorContains(t, err, "two blocks")
	_, err = openBytes(rebuild(seg, append(index, 1, 2, 3)))
	require.ErrorIs(t, err, ErrCorrupt)
	last := binary.BigEndian.AppendUint32([]byte{0, 99, 0, 0}, math.MaxUint32)
	_, err = openBytes(rebuild(seg, append(index, append(last, 0, 0, 0, 0)...)))
	require.ErrorIs(t, err, ErrCorrupt, "block longer than what is left")
}

// I-16: an index that is consistent in itself and wrong about the data is not uploaded.
func TestVerifyIndexFindsLies(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, ChunkBytes: 1, Compression: CompressionZstd}, batches(1000, 1015, nil))
	good, _ := read(t, seg)
	verify := func(name string, lie func(ix *Index)) {
		t.Helper()
		ix := *good
		ix.chunks = append([]Chunk(nil), good.chunks...)
		lie(&ix)
		require.NoError(t, ix.check(), "%s: the lie is consistent", name)
		require.Error(t, VerifyIndex(&ix, bytes.NewReader(seg)), name)
	}
	verify("offsets of a chunk", func(ix *Index) { ix.chunks[0].Next, ix.chunks[1].Base = 1006, 1006 })
	verify("offsets of a chunk, the other way", func(ix *Index) { ix.chunks[0].Next, ix.chunks[1].Base = 1004, 1004 })
	verify("end of the range", func(ix *Index) { ix.meta.Next, ix.chunks[2].Next, ix.sums.maxTimestampOffset = 1014, 1014, 1013 })
	verify("CRC of a chunk", func(ix *Index) { ix.chunks[1].CRC32C++ })
	verify("raw length", func(ix *Index) { ix.chunks[1].RawLength++; ix.chunks[0].RawLength-- })
	verify("compression", func(ix *Index) {
		c := &ix.chunks[1]
		ix.sums.data += int64(c.Length - c.RawLength)
		c.Compressed, c.RawLength = false, c.Length
	})
	verify("least timestamp of a chunk", func(ix *Index) { ix.chunks[1].MinTimestamp++ })
	verify("greatest timestamp of a chunk", func(ix *Index) { ix.chunks[1].MaxTimestamp-- })
	verify("least timestamp", func(ix *Index) { ix.sums.minTimestamp-- })
	verify("greatest timestamp", func(ix *Index) { ix.sums.maxTimestamp++ })
	verify("offset of the greatest timestamp", func(ix *Index) { ix.sums.maxTimestampOffset-- })
	verify("leader epoch", func(ix *Index) { ix.meta.Epoch = 6 })
	header := bytes.Clone(seg)
	header[0] ^= 1
	require.ErrorIs(t, VerifyIndex(good, bytes.NewReader(header)), ErrCorrupt)
	require.Error(t, VerifyIndex(good, bytes.NewReader(seg[:10])))
}

func TestDumpOfDamage(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, ChunkBytes: 1}, batches(1000, 1015, nil))
	ix, _ := read(t, seg)
	seg[ix.Chunks()[1].Position] ^= 1
	var out bytes.Buffer
	err := Dump(&out, bytes.NewReader(seg), int64(len(seg)), true)
	require.ErrorIs(t, err, ErrCorrupt)
	require.Contains(t, out.String(), "fault: ")
	require.Contains(t, out.String(), "baseOffset: 1010", "the chunks after it are shown")
	require.NoError(t, Dump(&out, bytes.NewReader(seg), int64(len(seg)), false), "shallow reads no chunk")
	require.Error(t, Dump(&out, bytes.NewReader(nil), 0, false))
	require.ErrorIs(t, Dump(failing{}, bytes.NewReader(seg), int64(len(seg)), false), errFull)
}
