package wire

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A schema describes the requests of one API key as far as walking over their bytes needs it. Its text form is:
//
//	VALID FLEX FIELD…      valid versions ("1-6"), first flexible version (999 = never), fields in wire order
//	FIELD  = TYPE@VERSIONS[?NULLABLE][#TAG/TAGGED]
//	TYPE   = 1 2 4 8 16    bytes of a fixed size
//	         s b           string; bytes or records
//	         aN as         array of fixed-size elements; of strings
//	         [ … ]  { … }  array of structs; struct
//
// VERSIONS, NULLABLE and TAGGED are version ranges: "3", "3-7" or "3+".
type schema struct {
	valid  versionRange
	flex   int16
	fields []field
}

type versionRange struct{ lo, hi int16 }

func (r versionRange) has(v int16) bool { return v >= r.lo && v <= r.hi }

var never = versionRange{lo: 1, hi: 0}

type kind uint8

const (
	kindFixed kind = iota
	kindString
	kindBytes
	kindFixedArray
	kindStringArray
	kindStructArray
	kindStruct
)

type field struct {
	kind     kind
	size     int // of a fixed-size value or element
	versions versionRange
	nullable versionRange
	tagged   versionRange
	tag      uint32
	sub      []field
	cost     int // bytes of memory that one decoded element of an array of structs takes
}

// schemas parses the table once, when it is first needed.
var schemas = sync.OnceValue(func() [kmsg.MaxKey + 1]*schema {
	var all [kmsg.MaxKey + 1]*schema
	for key, spec := range schemaSpecs {
		s, err := parseSpec(spec)
		if err != nil {
			panic(fmt.Sprintf("schema of API key %d: %v", key, err)) // the table is a constant that tests parse
		}
		if int(key) < len(all) {
			all[key] = s
		}
	}
	return all
})

// schemaCovers says whether every version of a range can be decoded.
func schemaCovers(r Range) error {
	s := schemas()[r.Key]
	m := kmsg.RequestForKey(r.Key)
	if s == nil || m == nil {
		return fmt.Errorf("%w %d", ErrUnknownKey, r.Key)
	}
	if lo, hi := s.valid.lo, min(s.valid.hi, m.MaxVersion()); r.Min < lo || r.Max > hi {
		return fmt.Errorf("key %d (%s): versions %d to %d are not within %d to %d", r.Key, kmsg.NameForKey(r.Key), r.Min, r.Max, lo, hi)
	}
	return nil
}

func parseSpec(spec string) (*schema, error) {
	words := strings.Fields(spec)
	if len(words) < 2 {
		return nil, fmt.Errorf("%q is too short", spec)
	}
	valid, err := parseRange(words[0])
	if err != nil {
		return nil, err
	}
	flex, err := strconv.ParseInt(words[1], 10, 16)
	if err != nil {
		return nil, err
	}
	fields, rest, err := parseFields(words[2:], "")
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q is left over", rest)
	}
	return &schema{valid: valid, flex: int16(flex), fields: fields}, err
}

// parseFields reads fields up to the closing word, or to the end when closing is empty.
func parseFields(words []string, closing string) (fields []field, rest []string, err error) {
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		if w == closing {
			return fields, words, nil
		}
		f, err := parseField(w)
		if err != nil {
			return nil, nil, err
		}
		if f.kind == kindStruct || f.kind == kindStructArray {
			end := "}"
			if f.kind == kindStructArray {
				end = "]"
			}
			if f.sub, words, err = parseFields(words, end); err != nil {
				return nil, nil, err
			}
			f.cost = structCost(f.sub)
		}
		fields = append(fields, f)
	}
	if closing != "" {
		return nil, nil, fmt.Errorf("%q is missing", closing)
	}
	return fields, nil, nil
}

func parseField(w string) (f field, err error) {
	typ, rest, ok := strings.Cut(w, "@")
	if !ok {
		return f, fmt.Errorf("%q has no versions", w)
	}
	f.nullable, f.tagged = never, never
	rest, tagPart, tagged := strings.Cut(rest, "#")
	if tagged {
		num, versions, _ := strings.Cut(tagPart, "/")
		n, err := strconv.ParseUint(num, 10, 32)
		if err != nil {
			return f, err
		}
		f.tag = uint32(n)
		if f.tagged, err = parseRange(versions); err != nil {
			return f, err
		}
	}
	rest, nullPart, nullable := strings.Cut(rest, "?")
	if nullable {
		if f.nullable, err = parseRange(nullPart); err != nil {
			return f, err
		}
	}
	if f.versions, err = parseRange(rest); err != nil {
		return f, err
	}
	switch typ {
	case "s":
		f.kind = kindString
	case "b":
		f.kind = kindBytes
	case "as":
		f.kind = kindStringArray
	case "[":
		f.kind = kindStructArray
	case "{":
		f.kind = kindStruct
	default:
		num, array := strings.CutPrefix(typ, "a")
		f.kind = kindFixed
		if array {
			f.kind = kindFixedArray
		}
		f.size, err = strconv.Atoi(num)
	}
	return f, err
}

func parseRange(s string) (r versionRange, err error) {
	lo, hi, two := strings.Cut(s, "-")
	open := strings.HasSuffix(lo, "+")
	n, err := strconv.ParseInt(strings.TrimSuffix(lo, "+"), 10, 16)
	if err != nil {
		return r, err
	}
	r = versionRange{lo: int16(n), hi: int16(n)}
	if open {
		r.hi = 1<<15 - 1
	}
	if two {
		n, err = strconv.ParseInt(hi, 10, 16)
		r.hi = int16(n)
	}
	return r, err
}

// structCost is at least the size of kmsg's struct for these fields.
func structCost(fields []field) int {
	n := 8 // the map of unknown tags
	for i := range fields {
		switch f := &fields[i]; f.kind {
		case kindFixed:
			n += max(f.size, 8)
		case kindString:
			n += 16
		case kindStruct:
			n += max(f.cost, 8)
		default:
			n += 24
		}
	}
	return n
}
