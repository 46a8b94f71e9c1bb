package partition

import (
	"fmt"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
)

// recompress gives a producer's batch with the codec and level that the topic's compression.type asks for (KIP-390; in
// Kafka's code LogValidator). It is only for batches of another codec: those that have the codec stay as they were sent,
// whatever their level. max.message.bytes counts before and, in the log, after. No lock is held here.
//
// Errors are hot.ErrRecordTooLarge, record.ErrTooLarge for what decompresses to more than is allowed, and
// hot.ErrInvalidBatch for bytes that are not of the batch's codec: the CRC held, so sending them again is no use.
func (m *Manager) recompress(s *Settings, batch []byte, h record.Header) ([]byte, record.Header, error) {
	c, largest := *s.Compression, int(s.Log.MaxMessageBytes)
	if largest > 0 && len(batch) > largest {
		return nil, h, fmt.Errorf("%w: %d bytes, at most %d", hot.ErrRecordTooLarge, len(batch), largest)
	}
	var out []byte
	// One of the two codecs is not None. Compressing takes memory, too, so it waits for its turn like decompressing.
	err := m.o.Unpack.Do(max(h.Codec(), c.Codec), func(most int) (err error) {
		if c.Codec == record.None && largest > 0 {
			most = min(most, largest-record.HeaderSize) // more would be refused once it is unpacked
		}
		out, h, err = record.Recompress(nil, batch, c, most)
		return err
	})
	if err != nil {
		return nil, h, fmt.Errorf("%w: compression.type is %s: %w", hot.ErrInvalidBatch, c.Codec, err)
	}
	return out, h, nil
}
