package api

import (
	"encoding/binary"
	"testing"
)

// Which damage Kafka calls corrupt and which an invalid record.
func TestUnreadable(t *testing.T) {
	batch := func(length int32, magic byte) []byte {
		b := make([]byte, 80)
		binary.BigEndian.PutUint32(b[8:], uint32(length))
		b[16] = magic
		return b
	}
	for _, at := range []struct {
		name string
		b    []byte
		want bool
	}{
		{"nothing", nil, false},
		{"a piece of a header", batch(-1, 9)[:16], false},
		{"whole", batch(68, 2), false},
		{"longer than what is there", batch(1<<30, 2), false},
		{"the shortest", batch(49, 2), false},
		{"too short", batch(48, 2), true},
		{"negative", batch(-1, 2), true},
		{"an old message", batch(14, 1), false},
		{"an old message that is too short", batch(13, 0), true},
		{"magic 3", batch(68, 3), true},
		{"magic 255", batch(68, 255), true},
	} {
		if got := unreadable(at.b); got != at.want {
			t.Errorf("%s: %v, want %v", at.name, got, at.want)
		}
	}
}
