package clean

import "hash/maphash"

// slotBytes is the memory that a key takes in a keyMap: 16 bytes of hash and 8 of offset, as in Kafka's SkimpyOffsetMap.
const slotBytes = 24

type slot struct {
	hi, lo uint64
	offset int64 // plus one; 0: the slot is free
}

// keyMap knows the newest offset of each key of a log's dirty section, by a hash of 128 bits of the key. Two keys with
// one hash would lose a record: with the five million keys that the default buffer takes, the odds are 1 in 10^25. The
// hashes are keyed at random, so nobody can choose keys that collide.
type keyMap struct {
	slots  []slot
	n, max int
	latest int64 // greatest offset that was taken in; -1: none
	seeds  [2]maphash.Seed
}

// newKeyMap makes a map for at most keys keys that takes at most buffer bytes, of which it uses the share load.
func newKeyMap(keys, buffer int64, load float64) *keyMap {
	slots := buffer / slotBytes
	if keys < int64(float64(slots)*load) {
		slots = int64(float64(keys)/load) + 2
	}
	slots = max(slots, 2)
	return &keyMap{slots: make([]slot, slots), max: max(1, int(float64(slots)*load)), latest: -1,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// place returns the key's slot, or the free one where it belongs. There is always a free one.
func (m *keyMap) place(key []byte) (s *slot, hi, lo uint64) {
	hi, lo = maphash.Bytes(m.seeds[0], key), maphash.Bytes(m.seeds[1], key)
	for i := lo % uint64(len(m.slots)); ; i++ {
		if i == uint64(len(m.slots)) {
			i = 0
		}
		if s = &m.slots[i]; s.offset == 0 || (s.hi == hi && s.lo == lo) {
			return s, hi, lo
		}
	}
}

// put notes the key's newest offset; offsets come in ascending order. It reports false if the map is full.
func (m *keyMap) put(key []byte, offset int64) bool {
	if m.n >= m.max {
		return false
	}
	s, hi, lo := m.place(key)
	if s.offset == 0 {
		m.n++
	}
	*s = slot{hi, lo, offset + 1}
	m.latest = offset
	return true
}

// get returns the key's newest offset, -1 if it is not known.
func (m *keyMap) get(key []byte) int64 {
	s, _, _ := m.place(key)
	return s.offset - 1
}

// utilization is the share of the slots that are taken.
func (m *keyMap) utilization() float64 { return float64(m.n) / float64(len(m.slots)) }
