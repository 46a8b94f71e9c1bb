package flush

import (
	"crypto/rand"
	"encoding/binary"
	"errors"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// Keep returns what the journal holds of a log, as a file that ReadKept reads. Of bytes that are damaged it says that they
// were there.
func (r *Replay) Keep(s *Survivor) ([]byte, error) {
	k := newKeeper()
	add := func(e *Extent) error {
		rec := s.record(e)
		b := make([]byte, e.Length)
		err := r.ReadAt(e, b)
		if errors.Is(err, ErrDamaged) {
			rec.Kind, rec.Position = Bound, e.Position+int64(e.Length)
			k.add(&rec, nil)
			return nil
		}
		if err != nil {
			return err
		}
		k.add(&rec, b)
		return nil
	}
	for i := range s.Extents {
		if err := add(&s.Extents[i]); err != nil {
			return nil, err
		}
	}
	return k.done(), nil
}

// KeepBound returns a file for ReadKept that says only up to where a log's last segment was whole.
func KeepBound(p topic.Partition, segment, size int64) []byte {
	k := newKeeper()
	k.add(&Record{Kind: Bound, Part: p, Segment: segment, Position: size}, nil)
	return k.done()
}

// keeper writes a row of frames.
type keeper struct {
	out  []byte
	f    Frame
	life uint64
	seq  uint64
}

func newKeeper() *keeper {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	k := &keeper{life: binary.LittleEndian.Uint64(b[:]), seq: 1}
	k.f.reset(k.life, k.seq)
	return k
}

func (k *keeper) add(r *Record, b []byte) {
	if !k.f.empty() && len(k.f.b)+len(b) > frameTarget {
		k.close()
	}
	copy(k.f.Add(r, len(b)), b)
}

func (k *keeper) close() {
	k.out = append(k.out, k.f.seal(k.seq, 1)...)
	k.seq++
	k.f.reset(k.life, k.seq)
}

func (k *keeper) done() []byte {
	k.close()
	k.close() // without records: the last one may be torn, and so this is it
	return k.out
}

// ReadKept reads a file that Keep wrote.
func ReadKept(fsys disk.FS, name string) (*Replay, error) {
	r := &Replay{}
	if err := r.readFiles(fsys, []string{name}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}
