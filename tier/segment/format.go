package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Version is the layout that Writer writes.
const Version = 1

const (
	// HeaderSize is the length in bytes of a segment's header; the first chunk follows it.
	HeaderSize = 16
	// FooterSize is the length in bytes of a segment's footer: the least that ParseIndex can begin with.
	FooterSize = 48

	headerMagic = "firn-seg"
	footerMagic = "firn-end"

	blockOverhead = 8 + 4 // type, flags and length before a block's payload, CRC after it
)

// The kinds of fault that a segment can have. Returned errors wrap exactly one of them and say more in their text.
var (
	// ErrCorrupt means that bytes are not what was written: a checksum or a magic is wrong, or numbers contradict
	// each other. Fetching again may help (I-25).
	ErrCorrupt = errors.New("cold segment is corrupt")
	// ErrUnsupported means that a newer firn wrote the segment.
	ErrUnsupported = errors.New("cold segment needs a newer firn")
)

// ShortError tells that ParseIndex was given too little of the segment's end.
type ShortError struct {
	Need int64 // how many of the segment's last bytes hold all of the index and the footer
}

func (e *ShortError) Error() string {
	return fmt.Sprintf("cold segment: the index needs the last %d bytes", e.Need)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}

func appendHeader(b []byte) []byte {
	start := len(b)
	b = append(b, headerMagic...)
	b = binary.BigEndian.AppendUint16(b, Version)
	b = append(b, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// checkHeader needs HeaderSize bytes.
func checkHeader(b []byte) error {
	if string(b[:8]) != headerMagic {
		return corrupt("it does not begin with the magic %q", headerMagic)
	}
	if crc := crc32.Checksum(b[:12], castagnoli); crc != binary.BigEndian.Uint32(b[12:]) {
		return corrupt("the header's CRC-32C is wrong")
	}
	return checkVersion(binary.BigEndian.Uint16(b[8:]))
}

func checkVersion(v uint16) error {
	if v != Version {
		return unsupported("it has version %d, this firn reads version %d", v, Version)
	}
	return nil
}

// footer is the fixed end of a segment.
type footer struct {
	indexPosition int64
	indexLength   int64 // of the blocks, without the footer
	length        int64 // of the whole segment
	indexCRC      uint32
}

func (f footer) append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint64(b, uint64(f.indexPosition))
	b = binary.BigEndian.AppendUint64(b, uint64(f.indexLength))
	b = binary.BigEndian.AppendUint64(b, uint64(f.length))
	b = binary.BigEndian.AppendUint32(b, f.indexCRC)
	b = binary.BigEndian.AppendUint16(b, Version)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, footerMagic...)
}

// parseFooter reads the last FooterSize bytes of a segment of total bytes.
func parseFooter(b []byte, total int64) (footer, error) {
	var f footer
	if string(b[40:48]) != footerMagic {
		return f, corrupt("it does not end with the magic %q", footerMagic)
	}
	if crc := crc32.Checksum(b[:36], castagnoli); crc != binary.BigEndian.Uint32(b[36:]) {
		return f, corrupt("the footer's CRC-32C is wrong")
	}
	if err := checkVersion(binary.BigEndian.Uint16(b[28:])); err != nil {
		return f, err
	}
	f = footer{
		indexPosition: int64(binary.BigEndian.Uint64(b)),
		indexLength:   int64(binary.BigEndian.Uint64(b[8:])),
		length:        int64(binary.BigEndian.Uint64(b[16:])),
		indexCRC:      binary.BigEndian.Uint32(b[24:]),
	}
	if f.length != total {
		return f, corrupt("the footer says %d bytes, %d are there", f.length, total)
	}
	if f.indexPosition < HeaderSize || f.indexLength < 0 || f.indexLength > total ||
		f.indexPosition != total-FooterSize-f.indexLength {
		return f, corrupt("an index of %d bytes at %d does not fit %d bytes", f.indexLength, f.indexPosition, total)
	}
	return f, nil
}
