package hot

import "sort"

// floor returns the last entry whose field is at most v; false when there is none. top is about how large the field is at
// the end of the segment, 0 if nobody knows: entries are found sooner with it. Entries that it finds may be wrong if the index
// was not verified after a crash; see segment.verifyIndexes.
func (x *index) floor(field indexField, v, top int64, as patience) (e [maxIndexEntry]byte, ok bool, err error) {
	x.mu.Lock()
	n := len(x.tail) / x.width
	i := sort.Search(n, func(i int) bool { return field.of(x.tail[i*x.width:]) > v })
	if i > 0 {
		copy(e[:], x.tail[(i-1)*x.width:i*x.width])
		x.mu.Unlock()
		return e, true, nil
	}
	disk := x.onDisk
	if n > 0 {
		top = min(top, field.of(x.tail)) // of what is on disk
	}
	x.mu.Unlock()
	if disk == 0 {
		return e, false, nil
	}
	return x.floorOnDisk(disk, field, v, top, as)
}

const (
	indexBlock = 256 // entries that are read at once
	maxGuesses = 3   // reads of a search that go by how the field grows, rather than halve what is left
)

// floorOnDisk is floor among the first n entries, which are in the file. Most segments grow evenly: the block that lies in
// its file where v lies below top holds the entry, or one near it does.
func (x *index) floorOnDisk(n int, field indexField, v, top int64, as patience) (e [maxIndexEntry]byte, ok bool, err error) {
	h, err := x.file.acquireAs(as)
	if err != nil {
		return e, false, err
	}
	defer h.release()
	block := getBuf(indexBlock * maxIndexEntry)
	defer putBuf(block)
	// Entries below lo are at most v, those from hi on are above; bottom and top are about what the field is there.
	lo, hi, bottom := 0, n, int64(0)
	for guesses := 0; ; guesses++ {
		at, size := lo, min(hi-lo, indexBlock)
		switch {
		case size == hi-lo:
		case guesses < maxGuesses && top > bottom:
			share := float64(v-bottom) / float64(top-bottom)
			at = max(lo, min(lo+int(min(share, 1)*float64(hi-lo))-indexBlock/2, hi-indexBlock))
		default:
			at = lo + (hi-lo-indexBlock)/2
		}
		b := block.b[:size*x.width]
		if err := readFullAs(h.File, b, int64(at*x.width), as); err != nil {
			return e, false, err
		}
		i := sort.Search(size, func(i int) bool { return field.of(b[i*x.width:]) > v })
		if i > 0 {
			copy(e[:], b[(i-1)*x.width:i*x.width])
			ok = true
		}
		switch {
		case i == 0 && at > lo:
			hi, top = at, field.of(b)
		case i == size && at+size < hi:
			lo, bottom = at+size, field.of(e[:])
		default:
			return e, ok, nil
		}
	}
}
