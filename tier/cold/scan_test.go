package cold

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

// However a chunk's bytes are cut, headers included, the scanner finds the same; and it says no to what is not whole
// batches in order.
func TestScanner(t *testing.T) {
	var raw []byte
	for i := range int64(40) {
		raw = append(raw, record.NewBuilder(record.None).Append(1, nil, make([]byte, 50*i), nil).Build(i)...)
	}
	c := segment.Chunk{Base: 0, Next: 40, Length: len(raw), RawLength: len(raw)}
	feed := func(c segment.Chunk, raw []byte, step int) ([]mark, error) {
		s := scan(c, 1000)
		for at := 0; at < len(raw); at += step {
			if err := s.feed(raw[at:min(at+step, len(raw))]); err != nil {
				return nil, err
			}
		}
		return s.marks, s.end()
	}
	want, err := feed(c, raw, len(raw))
	require.NoError(t, err)
	require.Greater(t, len(want), 1)
	require.Equal(t, mark{0, 1000}, want[0])
	for _, step := range []int{1, 7, 60, 61, 62, 1000, 16 << 10} {
		got, err := feed(c, raw, step)
		require.NoError(t, err, step)
		require.Equal(t, want, got, step)
	}
	for _, step := range []int{1, 61, 5000, len(raw)} {
		_, err = feed(c, raw[:len(raw)-1], step)
		require.ErrorIs(t, err, segment.ErrCorrupt)
		_, err = feed(c, append([]byte("x"), raw...), step)
		require.ErrorIs(t, err, segment.ErrCorrupt)
		_, err = feed(segment.Chunk{Next: 39, RawLength: len(raw)}, raw, step)
		require.ErrorIs(t, err, segment.ErrCorrupt)
		_, err = feed(segment.Chunk{Next: 80, RawLength: 2 * len(raw)}, append(raw[:len(raw):len(raw)], raw...), step)
		require.ErrorIs(t, err, segment.ErrCorrupt)
	}
}
