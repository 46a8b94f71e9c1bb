package wire

import (
	"math/rand/v2"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets every field of a kmsg message at random: strings of letters, arrays of up to three elements, pointers
// that are nil now and then. It leaves the version and unknown tags alone.
func fill(m any, r *rand.Rand) {
	fillValue(reflect.ValueOf(m).Elem(), r)
}

func fillValue(v reflect.Value, r *rand.Rand) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fillValue(v.Field(i), r)
			}
		}
	case reflect.Pointer:
		if r.IntN(4) == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem(), r)
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fillValue(v.Index(i), r)
		}
	case reflect.Array:
		for i := range v.Len() {
			fillValue(v.Index(i), r)
		}
	case reflect.String:
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = 'a' + byte(r.IntN(26))
		}
		v.SetString(string(b))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(r.Uint64() & 0xff)
	case reflect.Float64:
		v.SetFloat(r.Float64())
	default:
		panic("fill: " + v.Type().String())
	}
}

// everyVersion calls fn for every key and version that can be decoded.
func everyVersion(fn func(key, version int16)) {
	for key := range int16(kmsg.MaxKey + 1) {
		s, m := schemas()[key], kmsg.RequestForKey(key)
		if s == nil || m == nil {
			continue
		}
		for v := s.valid.lo; v <= min(s.valid.hi, m.MaxVersion()); v++ {
			fn(key, v)
		}
	}
}
