// Package record is the record batch format, version 2 (magic 2), as it lies on the wire and on disk: parse,
// check, stamp, iterate, decode, build, and the five codecs (KIP-98, KIP-82, KIP-110; in Kafka's code
// DefaultRecordBatch, DefaultRecord, ControlRecordType, LogValidator).
//
// It owns every byte position of a batch; nobody else reads one. It is pure: no goroutine, clock or I/O, and
// nothing shared but pools of codec state, so every function may be called concurrently as long as no two
// calls write to the same bytes.
//
// Three levels of trust, from cheap to dear:
//   - [Batches] only walks: lengths, magic and offsets that go forward. For data that was checked before.
//   - [Check] verifies what a producer sent: header and CRC-32C, without decoding a record. It does not allocate.
//     [CheckStored] is the same for what lies in a log, where a cleaner may have removed records of a batch.
//   - [ValidateRecords] decodes every record and holds it against the header. [Records] hands records out and
//     is as suspicious, but accepts a thinned batch.
//
// A batch can pass Check and still lie inside (firn stores what it was sent): all decoding here is bounded in
// memory and answers a lie with an error (I-32).
//
// What it deliberately does not do: choose Kafka error codes, read message sets of magic 0 and 1, convert,
// keep sequence state, or look at keys.
package record
