package producer

import "github.com/firnlog/firn/tier/record"

// Remembered is how many of a producer's last batches are kept, and so how many requests an idempotent
// producer may have in flight (Kafka's max.in.flight.requests.per.connection of at most 5).
const Remembered = 5

// None stands for "no value" in fields of type epoch, sequence, offset and timestamp.
const None = -1

// Batch is what is remembered of one appended batch.
type Batch struct {
	LastOffset int64 // of its last record
	Timestamp  int64 // ms: when it was appended, by the broker's clock
	LastSeq    int32 // sequence of its last record
	Delta      int32 // last minus first sequence, and last minus first offset
}

// FirstSeq is the sequence of the batch's first record; sequences go from 2^31-1 to 0.
func (b Batch) FirstSeq() int32 { return int32((int64(b.LastSeq) - int64(b.Delta)) & (1<<31 - 1)) }

// FirstOffset is the offset of the batch's first record.
func (b Batch) FirstOffset() int64 { return b.LastOffset - int64(b.Delta) }

// Entry is what a partition knows of one producer (Kafka's ProducerStateEntry). It is a plain value: a copy
// shares nothing with the original.
type Entry struct {
	ID                    int64
	LastTimestamp         int64 // ms: when it appended last (data or marker); None for never
	CurrentTxnFirstOffset int64 // first offset of its open transaction, None if there is none
	CoordinatorEpoch      int32 // of the coordinator that wrote its last marker, None if there is none
	Epoch                 int16 // None if not known

	count   uint8
	batches [Remembered]Batch // the first count are set, oldest first
}

// NewEntry returns an entry that knows nothing of the producer but its id.
func NewEntry(id int64) Entry {
	return Entry{ID: id, LastTimestamp: None, CurrentTxnFirstOffset: None, CoordinatorEpoch: None, Epoch: None}
}

// Batches returns the remembered batches, oldest first. The slice belongs to the entry.
func (e *Entry) Batches() []Batch { return e.batches[:e.count] }

// Add remembers one more batch of the entry's epoch, and forgets the oldest when there are too many.
func (e *Entry) Add(b Batch) {
	if e.count == Remembered {
		copy(e.batches[:], e.batches[1:])
		e.count--
	}
	e.batches[e.count] = b
	e.count++
}

// lastSeq is the sequence that the next batch must follow, None if no batch of this epoch is known.
func (e *Entry) lastSeq() int32 {
	if e.count == 0 {
		return None
	}
	return e.batches[e.count-1].LastSeq
}

// duplicate finds the remembered batch that has exactly the sequences of h.
func (e *Entry) duplicate(h record.Header) (Batch, bool) {
	if h.ProducerEpoch != e.Epoch {
		return Batch{}, false
	}
	first, last := h.BaseSequence, h.LastSequence()
	for _, b := range e.Batches() {
		if b.LastSeq == last && b.FirstSeq() == first {
			return b, true
		}
	}
	return Batch{}, false
}

// enter makes epoch the entry's; what was remembered of another epoch is forgotten.
func (e *Entry) enter(epoch int16) {
	if e.Epoch != epoch {
		e.Epoch, e.count, e.batches = epoch, 0, [Remembered]Batch{}
	}
}
