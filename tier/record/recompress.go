package record

import "slices"

// Recompress appends to dst the batch at batch[0:], as Check takes it, with its records compressed as c says, and returns
// its new header. Only codec, length and CRC change: offsets, leader epoch, producer, timestamps, delete horizon, count and
// the other attributes stay, and so does every byte of the uncompressed records, which are not looked into. The old CRC is
// not verified.
//
// Errors: those of the header's framing, ErrCodec, ErrCorrupt, and ErrTooLarge when the records decompress to more than
// maxDecoded bytes. On an error dst is returned as it was.
func Recompress(dst, batch []byte, c Compression, maxDecoded int) ([]byte, Header, error) {
	h, err := frame(batch)
	if err != nil {
		return dst, h, err
	}
	body := batch[HeaderSize:h.Size()]
	at := len(dst)
	out := slices.Grow(dst, HeaderSize+len(body))[:at+HeaderSize]
	if c.Codec == None {
		out, err = Decompress(out, body, h.Codec(), maxDecoded)
	} else {
		d := decoders.Get().(*decoder)
		defer d.release()
		if h.Codec() != None {
			if d.buf, err = Decompress(d.buf[:0], body, h.Codec(), maxDecoded); err != nil {
				return dst, h, err
			}
			body = d.buf
		}
		out, err = c.Compress(out, body)
	}
	if err != nil {
		return dst, h, err
	}
	h.Attributes = h.Attributes&^attrCodec | int16(c.Codec)
	seal(out[at:], h)
	return out, parseHeader(out[at:]), nil
}
