package etcd

import "testing"

// I-32: what somebody else wrote under a partition's key is refused, or is a partition that can be written back.
func FuzzDecodePartition(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, '{', '}'}, int64(1))
	f.Add([]byte{0, 0, 0, 1}, int64(-1))
	f.Fuzz(func(t *testing.T, b []byte, version int64) {
		p, err := decodePartition(b, version)
		if err == nil && p.Version != version {
			t.Fatalf("version %d, not %d", p.Version, version)
		}
	})
}
