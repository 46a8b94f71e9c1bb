package wire

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every request that kmsg can write passes the walk, which ends exactly where the message does, and comes back as it was.
func TestSchemaAgreesWithKmsg(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := 0
	everyVersion(func(key, version int16) {
		for range 40 {
			m := kmsg.RequestForKey(key)
			fill(m, r)
			m.SetVersion(version)
			body := m.AppendTo(nil)
			left, _, err := checkRequest(key, version, body)
			if err != nil || left != 0 {
				t.Fatalf("%s version %d: %d bytes left, %v\n%+v\n%x", kmsg.NameForKey(key), version, left, err, m, body)
			}
			got, err := DecodeRequest(key, version, body)
			if err != nil {
				t.Fatalf("%s version %d: %v", kmsg.NameForKey(key), version, err)
			}
			if again := got.AppendTo(nil); !reflect.DeepEqual(again, body) {
				t.Fatalf("%s version %d: %x became %x", kmsg.NameForKey(key), version, body, again)
			}
			for cut := range body { // I-32: nothing is read beyond the end
				if _, err := DecodeRequest(key, version, body[:cut:cut]); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%s version %d cut to %d of %d bytes: %v", kmsg.NameForKey(key), version, cut, len(body), err)
				}
			}
		}
		n++
	})
	if n < 150 {
		t.Errorf("only %d versions were looked at", n)
	}
}

// What a client's unknown tags say is skipped, at the top and inside.
func TestDecodeUnknownTags(t *testing.T) {
	m := kmsg.NewPtrMetadataRequest()
	m.Version = 12
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("t")
	topic.UnknownTags.Set(77, []byte("inner"))
	m.Topics = append(m.Topics, topic)
	m.UnknownTags.Set(99, []byte("outer"))
	got, err := DecodeRequest(3, 12, m.AppendTo(nil))
	if err != nil || *got.(*kmsg.MetadataRequest).Topics[0].Topic != "t" {
		t.Fatalf("%+v, %v", got, err)
	}
}

// I-32: claims of billions allocate nothing, and a body of the smallest elements is not blown up.
func TestDecodeHostile(t *testing.T) {
	be32 := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	many := func(n int, elem []byte) []byte {
		b := binary.AppendUvarint(nil, uint64(n+1))
		for range n {
			b = append(b, elem...)
		}
		return b
	}
	cases := map[string]struct {
		key, version int16
		body         []byte
	}{
		"metadata: two billion topics":        {3, 1, be32(1<<31 - 1)},
		"metadata: minus two topics":          {3, 1, be32(1<<32 - 2)},
		"metadata: four billion compact":      {3, 9, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}},
		"metadata: varint too long":           {3, 9, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
		"metadata: four billion tags":         {3, 9, []byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		"metadata: tag longer than the rest":  {3, 9, []byte{0, 0, 0, 0, 1, 9, 0xff, 0xff, 0xff, 0xff, 0x0f}},
		"metadata: a null topic":              {3, 1, append(be32(1), 0xff, 0xff)},
		"delete groups: a million empty ones": {42, 2, append(many(1<<20+1, []byte{1}), 0)},
		"offset fetch: empty groups":          {9, 8, append(many(1<<20, []byte{1, 0, 0}), 0, 0)},
		"alter configs: empty resources":      {44, 1, append(many(1<<20, []byte{0, 1, 1, 0}), 0, 0)},
		"no such version":                     {3, 99, nil},
		"no such message (LeaderAndIsr)":      {4, 0, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m, err := DecodeRequest(c.key, c.version, c.body)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatalf("accepted: %T", m)
			}
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKey) {
				t.Errorf("error %v", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("%d bytes allocated for a body of %d", got, len(c.body))
			}
		})
	}
}

// I-32: whatever bytes come, decoding ends, does not panic, and allocates in proportion.
func FuzzRequestDecode(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	everyVersion(func(key, version int16) {
		m := kmsg.RequestForKey(key)
		fill(m, r)
		m.SetVersion(version)
		f.Add(key, version, m.AppendTo(nil))
	})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := DecodeRequest(key, version, body)
		runtime.ReadMemStats(&after)
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(costFloor+2*costFactor*len(body)+1<<20); got > limit {
			t.Fatalf("%d bytes allocated for a body of %d", got, len(body))
		}
		if err != nil {
			return
		}
		m.AppendTo(nil)
	})
}
