package hot

import "errors"

// Errors of this package. Returned errors wrap one of them and say more; test with errors.Is. What an idempotent
// producer may not append is refused with the errors of package producer.
var (
	// ErrLocked: another process has the log directory open.
	ErrLocked = errors.New("log directory is in use by another process")
	// ErrClosed: the Log or its Dir was closed, or the partition was removed.
	ErrClosed = errors.New("log is closed")
	// ErrOffline: an fsync or write of this log directory failed; nothing more is written to it (I-31).
	ErrOffline = errors.New("log directory is offline")
	// ErrFull: no space left. The append left no trace and may be repeated.
	ErrFull = errors.New("log directory is full")
	// ErrFenced: the append's leader epoch is older than the newest one that the log knows (I-03).
	ErrFenced = errors.New("leader epoch is fenced")
	// ErrOutOfRange: the offset is below the local start or above the end.
	ErrOutOfRange = errors.New("offset is out of range")
	// ErrRecordTooLarge: a batch is larger than max.message.bytes.
	ErrRecordTooLarge = errors.New("record batch is larger than max.message.bytes")
	// ErrBatchListTooLarge: one append is larger than segment.bytes.
	ErrBatchListTooLarge = errors.New("record batches are larger than segment.bytes")
	// ErrTimestamp: records are further from the broker's time than the topic allows. It wraps BadRecords where
	// the records are known.
	ErrTimestamp = errors.New("timestamp is out of the allowed range")
	// ErrInvalidBatch: the batch's records are wrong, or do not decompress where they had to be. It wraps what record says.
	ErrInvalidBatch = errors.New("record batch is invalid")
	// ErrDuplicateSequence: of several batches in one append, one is stored already.
	ErrDuplicateSequence = errors.New("sequence is a duplicate of a stored batch")
	// ErrChanged: the segments that were to be replaced are not those of the log any more.
	ErrChanged = errors.New("segments of the log changed meanwhile")
	// ErrDamaged: bytes of a log that had been flushed are gone or changed, which no crash does. The log is left as it
	// is and not opened until somebody has decided what to do.
	ErrDamaged = errors.New("flushed bytes of the log are lost")
	// ErrCorruptLog: bytes of a segment are not the batches that they should be. The message names file and
	// position.
	ErrCorruptLog = errors.New("log segment is corrupt")
	// ErrUnreadable: the disk did not give what is in a file.
	ErrUnreadable = errors.New("a file of the log cannot be read")
)
