package wire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a decoded request may cost in memory, beside the frame itself: a request made of the smallest elements that the
// protocol has is refused rather than blown up. Requests of real clients stay far below: their elements have names.
const (
	costFloor  = 64 << 10 // always allowed
	costFactor = 32       // times the size of the body
	costMax    = 32 << 20
)

// Costs of what kmsg allocates beside the structs.
const (
	costString = 16  // least size of a copied string, over its length
	costTags   = 320 // a map for unknown tags
	costTag    = 64  // an entry in it
)

// answerCost is what the answer to an element of a list takes as a rule, made and encoded: a code, a few numbers and a short
// sentence. Handlers whose answers take more reserve the rest.
const answerCost = 256

// checkRequest walks over a body as its schema says. It fails on claims that the bytes don't back, on null where the
// protocol has no null, on negative lengths, and on a decoded form out of proportion. It allocates nothing. left is how
// many bytes follow the last field; Kafka ignores them. cost is what the decoded form takes, and the answers to its elements.
func checkRequest(key, version int16, body []byte) (left, cost int, err error) {
	if key < 0 || int(key) > kmsg.MaxKey || schemas()[key] == nil {
		return 0, 0, fmt.Errorf("%w %d", ErrUnknownKey, key)
	}
	s := schemas()[key]
	if !s.valid.has(version) {
		return 0, 0, fmt.Errorf("%w: %s has no version %d", ErrMalformed, kmsg.NameForKey(key), version)
	}
	most := min(costMax, costFloor+costFactor*len(body))
	w := walker{
		reader:  reader{b: body},
		version: version,
		flex:    version >= s.flex,
		budget:  most,
	}
	w.structure(s.fields)
	if w.tooLarge {
		return 0, 0, fmt.Errorf("%w: %s of %d bytes has too many elements", ErrMalformed, kmsg.NameForKey(key), len(body))
	}
	if w.failed {
		return 0, 0, fmt.Errorf("%w: %s version %d ends early or claims a wrong length", ErrMalformed, kmsg.NameForKey(key), version)
	}
	return len(w.b), most - w.budget + w.elements*answerCost, nil
}

type walker struct {
	reader
	version  int16
	flex     bool
	budget   int
	tooLarge bool
}

func (w *walker) spend(n int) {
	if w.budget -= n; w.budget < 0 {
		w.tooLarge = true
		w.fail()
	}
}

// structure walks over the fields of a struct and its tag section.
func (w *walker) structure(fields []field) {
	for i := range fields {
		f := &fields[i]
		if !f.versions.has(w.version) || f.tagged.has(w.version) {
			continue
		}
		w.value(f)
		if w.failed {
			return
		}
	}
	if !w.flex {
		return
	}
	n := w.tagCount()
	if n > 0 {
		w.spend(costTags)
	}
	for ; n > 0 && !w.failed; n-- {
		tag, body := w.tag()
		w.spend(costTag)
		for i := range fields {
			f := &fields[i]
			if !f.tagged.has(w.version) || f.tag != tag || w.failed {
				continue
			}
			rest := w.reader // the tag's content is a message of its own
			body.elements = w.elements
			w.reader = body
			w.value(f)
			rest.failed = rest.failed || w.failed
			rest.elements = w.elements
			w.reader = rest
		}
	}
	if w.failed {
		w.b = nil
	}
}

func (w *walker) value(f *field) {
	null := f.nullable.has(w.version)
	switch f.kind {
	case kindFixed:
		w.span(f.size)
	case kindString:
		w.text(null)
	case kindBytes:
		if n := w.length(w.flex); n != -1 || !null {
			w.span(n)
		}
	case kindFixedArray:
		n := w.array(w.flex, f.size, null)
		w.spend(n * f.size)
		w.span(n * f.size)
	case kindStringArray:
		n := w.array(w.flex, 1, null)
		for w.spend(16 * n); n > 0 && !w.failed; n-- {
			w.text(false)
		}
	case kindStructArray:
		n := w.array(w.flex, 1, null)
		for w.spend(f.cost * n); n > 0 && !w.failed; n-- {
			w.structure(f.sub)
		}
	case kindStruct:
		if null {
			switch w.int8() {
			case -1:
				return
			case 1:
			default:
				w.fail()
				return
			}
		}
		w.spend(f.cost)
		w.structure(f.sub)
	}
}

func (w *walker) text(null bool) {
	n := w.stringLen(w.flex)
	if n == -1 && null && !w.failed {
		return
	}
	w.span(n)
	w.spend(n + costString)
}
