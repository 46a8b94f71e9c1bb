package record

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// thinInput is a batch of ten records at offset 1000, the 4th and the last with a null value.
func thinInput(c Codec) []byte {
	b := NewBuilder(c).Producer(5, 2, 70).LeaderEpoch(3)
	for i := range 10 {
		value := []byte(fmt.Sprintf("value %d", i))
		if i == 3 || i == 9 {
			value = nil
		}
		b.Append(5000+int64(i%4)*100, []byte{byte('a' + i)}, value, []RecordHeader{{Key: "h", Value: []byte{byte(i)}}})
	}
	return b.Build(1000)
}

func list(t *testing.T, batch []byte) (h Header, out []string) {
	h, err := CheckStored(batch)
	require.NoError(t, err)
	require.NoError(t, Records(batch, 1<<20, func(_ int, r *Record) error {
		out = append(out, fmt.Sprintf("%d %d %s %s %v", h.Offset(r), h.Timestamp(r), r.Key, r.Value, r.Headers))
		return nil
	}))
	return h, out
}

func TestThin(t *testing.T) {
	none := func(int64, []byte, []byte) bool { return false }
	odd := func(o int64, _, _ []byte) bool { return o%2 == 1 && o > 1002 }
	var th Thinner
	for c := None; c <= Zstd; c++ {
		in := thinInput(c)
		was, all := list(t, in)
		for _, logAppend := range []bool{false, true} {
			if logAppend {
				StampLogAppendTime(in, 9000)
				was, all = list(t, in)
			}
			out, r, err := th.Thin([]byte("before"), in, &Thinning{Horizon: NoTimestamp, MaxDecoded: 1 << 20})
			require.NoError(t, err)
			require.Equal(t, Thinned{Records: 10, Kept: 10, Same: true}, r)
			require.Equal(t, append([]byte("before"), in...), out, "what stays whole is not touched")

			out, r, err = th.Thin(nil, in, &Thinning{Keep: odd, Horizon: NoTimestamp, MaxDecoded: 1 << 20})
			require.NoError(t, err)
			require.Equal(t, Thinned{Records: 10, Kept: 4}, r)
			h, left := list(t, out)
			require.Equal(t, []string{all[3], all[5], all[7], all[9]}, left, "%v: offset, time, key, value, headers stay", c)
			want := was
			want.Count, want.CRC, want.Length = 4, h.CRC, h.Length
			if !logAppend {
				want.BaseTimestamp, want.MaxTimestamp = 5300, 5300
			} else {
				want.BaseTimestamp = 9000
			}
			require.Equal(t, want, h, "the rest of the header stays")

			out, _, err = th.Thin(nil, in, &Thinning{Horizon: 777, MaxDecoded: 1 << 20})
			require.NoError(t, err)
			h, left = list(t, out)
			require.Equal(t, all, left)
			ms, ok := h.DeleteHorizon()
			require.True(t, ok)
			require.Equal(t, int64(777), ms)
			again, r, err := th.Thin(nil, out, &Thinning{Horizon: 999, MaxDecoded: 1 << 20})
			require.NoError(t, err)
			require.True(t, r.Same, "a horizon is set once")
			require.Equal(t, out, again)
			out, _, err = th.Thin(nil, out, &Thinning{Keep: odd, Horizon: 999, MaxDecoded: 1 << 20})
			require.NoError(t, err)
			h, left = list(t, out)
			require.Equal(t, []string{all[3], all[5], all[7], all[9]}, left, "thinned again, the horizon stays the base")
			require.Equal(t, int64(777), h.BaseTimestamp)
		}
		out, r, err := th.Thin(nil, in, &Thinning{Keep: none, Horizon: 1, MaxDecoded: 1 << 20})
		require.NoError(t, err)
		require.Equal(t, Thinned{Records: 10}, r)
		require.Empty(t, out)
		for _, anonymous := range []bool{false, true} {
			out, _, err = th.Thin(nil, in, &Thinning{Keep: none, KeepEmpty: true, Anonymous: anonymous, Horizon: 1, MaxDecoded: 1 << 20})
			require.NoError(t, err)
			require.Len(t, out, HeaderSize)
			h, left := list(t, out)
			require.Empty(t, left)
			require.Equal(t, was.LastOffset(), h.LastOffset())
			require.Equal(t, None, h.Codec())
			require.Equal(t, anonymous, !h.HasProducer())
			if !anonymous {
				require.Equal(t, was.LastSequence(), h.LastSequence(), "the last sequence outlives the records (I-05)")
			}
			again, r, err := th.Thin(nil, out, &Thinning{KeepEmpty: true, Anonymous: anonymous, Horizon: 1})
			require.NoError(t, err)
			require.True(t, r.Same)
			require.Equal(t, out, again)
			out, _, err = th.Thin(nil, out, &Thinning{Horizon: 1})
			require.NoError(t, err)
			require.Empty(t, out, "an empty batch that nobody needs goes")
		}
	}
}

func TestThinMarker(t *testing.T) {
	in := EndTxnMarker(50, 4000, 9, 1, ControlAbort, 7)
	var th Thinner
	out, _, err := th.Thin(nil, in, &Thinning{Horizon: 8000, Mark: true})
	require.NoError(t, err)
	h, left := list(t, out)
	require.Len(t, left, 1)
	ms, ok := h.DeleteHorizon()
	require.True(t, ok && ms == 8000 && h.IsControl() && h.IsTransactional())
}

func FuzzThin(f *testing.F) {
	for c := None; c <= Zstd; c++ {
		f.Add(thinInput(c), uint16(0x5a5a), int64(4000))
	}
	f.Fuzz(func(t *testing.T, b []byte, mask uint16, horizon int64) {
		var th Thinner
		before := bytes.Clone(b)
		out, r, err := th.Thin(nil, b, &Thinning{Horizon: horizon, KeepEmpty: mask&1 == 1, MaxDecoded: 1 << 16,
			Keep: func(o int64, _, _ []byte) bool { return mask>>(uint(o)%16)&1 == 1 }})
		require.Equal(t, before, b, "the input is not written to")
		if err != nil || len(out) == 0 || r.Same {
			return
		}
		h, err := ParseHeader(out)
		require.NoError(t, err)
		require.Equal(t, len(out), h.Size())
		require.Equal(t, r.Kept, int(h.Count))
		n := 0
		require.NoError(t, Records(out, 1<<16, func(int, *Record) error { n++; return nil }))
		require.Equal(t, r.Kept, n)
	})
}

func BenchmarkThin(b *testing.B) {
	for _, c := range []Codec{None, LZ4, Zstd} {
		bu := NewBuilder(c)
		for i := range 200 {
			bu.Append(int64(i), []byte(fmt.Sprint("key", i)), bytes.Repeat([]byte("v"), 100), nil)
		}
		in := bu.Build(0)
		b.Run(c.String(), func(b *testing.B) {
			var th Thinner
			var out []byte
			o := Thinning{Horizon: NoTimestamp, MaxDecoded: 1 << 20, Keep: func(o int64, _, _ []byte) bool { return o%2 == 0 }}
			b.SetBytes(200 * 110)
			b.ReportAllocs()
			for b.Loop() {
				out, _, _ = th.Thin(out[:0], in, &o)
			}
		})
	}
}
