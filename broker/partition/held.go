package partition

import (
	"github.com/firnlog/firn/tier/hot/producer"
)

// Held says how much of a partition lies where, in bytes, and how far each place is behind, in records.
type Held struct {
	Local    int64 // the segment files on local disk
	Lag      int64 // records above the high watermark; 0 while the log is not open
	Archived int64 // as stored in the bucket, what is on its way out included
	Pending  int64 // records that the archive has not got yet; 0 while the log is not open
}

// Held looks at what is known already, and at the folder of a log that is not open: it opens none, so that asking for
// every partition of a broker costs neither memory nor descriptors.
func (p *Partition) Held() (Held, error) {
	var h Held
	l := p.m.o.Metadata.CachedLedger(p.id)
	h.Archived = l.StoredBytes()
	log := p.log.Load()
	if log == nil {
		var err error
		h.Local, err = p.m.o.Disk.LogBytes(p.id)
		return h, err
	}
	o, _ := p.offsetsOf(*log)
	h.Local, h.Lag = (*log).Bytes(), o.end-o.hw
	if p.Settings().Remote {
		h.Pending = max(o.end-l.Next, 0)
	}
	return h, nil
}

// LearnProducers opens the log and has it find out who its producers are, so that Producers reads nothing. It lists nobody, which
// may take much memory. Errors are those of Producers.
func (p *Partition) LearnProducers() error {
	log, err := p.serve(-1)
	if err != nil {
		return err
	}
	return log.LearnProducers()
}

// Producers tells what the log of a partition that this broker leads knows of those who write to it idempotently, by
// ascending id. Errors: NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
func (p *Partition) Producers() ([]producer.Entry, error) {
	log, err := p.serve(-1)
	if err != nil {
		return nil, err
	}
	return log.Producers()
}
