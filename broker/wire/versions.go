package wire

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The API keys that this package treats specially.
const (
	KeyProduce     int16 = 0
	KeyFetch       int16 = 1
	KeyApiVersions int16 = 18
)

// MinProduceVersion is the lowest Produce version that is served. Versions below are advertised, because librdkafka
// otherwise switches its codecs off (KAFKA-18659), and answered with UNSUPPORTED_VERSION.
const MinProduceVersion int16 = 3

// Range is the versions of one API key that are served, both ends included.
type Range struct {
	Key, Min, Max int16
}

// Versions is the table of what a broker serves. It is immutable.
type Versions struct {
	byKey      [kmsg.MaxKey + 1]Range // Key -1 = not served
	advertised []Range
}

// NewVersions checks and indexes a table. Every version in it must be known to the schema table of this package.
func NewVersions(ranges []Range) (*Versions, error) {
	v := &Versions{}
	for i := range v.byKey {
		v.byKey[i].Key = -1
	}
	for _, r := range ranges {
		if r.Key < 0 || r.Key > kmsg.MaxKey || r.Min < 0 || r.Max < r.Min {
			return nil, fmt.Errorf("version table: key %d versions %d to %d: out of range", r.Key, r.Min, r.Max)
		}
		if v.byKey[r.Key].Key >= 0 {
			return nil, fmt.Errorf("version table: key %d twice", r.Key)
		}
		if err := schemaCovers(r); err != nil {
			return nil, fmt.Errorf("version table: %w", err)
		}
		v.byKey[r.Key] = r
		if r.Key == KeyProduce {
			r.Min = 0
		}
		v.advertised = append(v.advertised, r)
	}
	slices.SortFunc(v.advertised, func(a, b Range) int { return cmp.Compare(a.Key, b.Key) })
	return v, nil
}

// Serves reports whether a version of a key is served; known whether any version of the key is.
func (v *Versions) Serves(key, version int16) (ok, known bool) {
	if key < 0 || int(key) >= len(v.byKey) || v.byKey[key].Key < 0 {
		return false, false
	}
	r := v.byKey[key]
	return version >= r.Min && version <= r.Max, true
}

// Advertised is the table as ApiVersions shows it, by key: as served, but Produce from 0. It must not be changed.
func (v *Versions) Advertised() []Range { return v.advertised }
