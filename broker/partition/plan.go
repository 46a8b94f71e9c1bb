package partition

import (
	"fmt"
	"time"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
)

// planArchive decides how far the log start of an archived partition moves by retention.ms and retention.bytes, in
// whole entries of the archive, oldest first, and says why (I-13). entries are those at or above the log start in
// offset order; beyond is the bytes that only the local log holds, above the ledger's next. It is Kafka's rule: an
// entry goes by size while what remains is still as large as is allowed, and by time when its newest record is too
// old. Only what is committed to the archive goes this way: no record is dropped that was never archived.
func planArchive(entries []ledger.Segment, start, beyond int64, c *hot.Config, now int64) (to int64, why string) {
	total := beyond
	for _, e := range entries {
		if e.Next > start {
			total += e.DataBytes
		}
	}
	to = start
	for _, e := range entries {
		if e.Next <= start {
			continue
		}
		newest := e.MaxTimestamp
		if newest < 0 {
			newest = e.CommittedAt // its records carry no time
		}
		switch {
		case c.RetentionMs >= 0 && newest >= 0 && now-newest > c.RetentionMs:
			why = fmt.Sprintf("its newest record is older than retention.ms=%d (%s)", c.RetentionMs, time.Duration(c.RetentionMs)*time.Millisecond)
		case c.RetentionBytes >= 0 && total-e.DataBytes >= c.RetentionBytes:
			why = fmt.Sprintf("the partition holds %d bytes, retention.bytes is %d", total, c.RetentionBytes)
		default:
			return to, why
		}
		total -= e.DataBytes
		to = e.Next
	}
	return to, why
}
