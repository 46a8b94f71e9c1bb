package partition

import (
	"fmt"

	"github.com/firnlog/firn/tier/record"
)

// Committed is a partition as a coordinator of this broker uses it: it writes its own records and reads back what is
// committed. It implements coord.Log.
type Committed struct {
	p   *Partition
	log Log
}

// Committed opens the log of a partition that this broker leads, else NOT_LEADER_OR_FOLLOWER.
func (p *Partition) Committed() (*Committed, error) {
	log, err := p.serve(-1)
	if err != nil {
		return nil, err
	}
	return &Committed{p, log}, nil
}

// Start is the oldest offset.
func (c *Committed) Start() int64 { return c.log.LogStart() }

// End is the offset after the last record.
func (c *Committed) End() int64 { return c.log.End() }

// HighWatermark is the offset below which records are committed.
func (c *Committed) HighWatermark() int64 { return c.p.HighWatermark() }

// MaxBatchBytes is max.message.bytes.
func (c *Committed) MaxBatchBytes() int { return int(c.p.Settings().Log.MaxMessageBytes) }

// Read gives whole committed batches from offset on, about max bytes.
func (c *Committed) Read(offset int64, max int) ([]byte, error) {
	return c.log.ReadBytes(offset, c.p.HighWatermark(), max)
}

// Append writes one batch that was built here, and gives the offset after it.
func (c *Committed) Append(batch []byte) (int64, error) {
	h, err := record.Check(batch)
	if err != nil {
		return 0, fmt.Errorf("a coordinator's own batch: %w", err)
	}
	a, err := c.p.Append(batch, h, true)
	if err != nil {
		return 0, err
	}
	return a.Next, nil
}

// Await calls fn once the high watermark has reached offset, or with an error code once it cannot.
func (c *Committed) Await(offset int64, fn func(code int16)) {
	if code := c.p.failure(); code != 0 {
		fn(code)
		return
	}
	c.p.Await(offset, fn)
}
