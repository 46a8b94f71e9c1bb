package object

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a key, chosen so that each key is possible in every store: S3 ends at 1,024 bytes prefix included,
// and a file system at 255 bytes for each component once some characters are escaped.
const (
	MaxKeyBytes       = 900
	MaxComponentBytes = 200
)

// CheckKey says why key cannot be stored, or nil. The rules are the narrowest of all stores, so that what works
// in one works in each: components separated by single slashes, none of them empty, "." or "..", no control
// characters, valid UTF-8. Every implementation calls it first in every method that takes a key.
func CheckKey(key string) error {
	bad := func(why string) error { return fmt.Errorf("object key %q %s", key, why) }
	switch {
	case key == "":
		return bad("is empty")
	case len(key) > MaxKeyBytes:
		return fmt.Errorf("object key of %d bytes is longer than %d", len(key), MaxKeyBytes)
	case !utf8.ValidString(key):
		return bad("is not UTF-8")
	}
	for c := range strings.SplitSeq(key, "/") {
		switch {
		case c == "":
			return bad("has an empty component (a slash at an end, or two in a row)")
		case c == "." || c == "..":
			return bad("has a component that is " + c)
		case len(c) > MaxComponentBytes:
			return bad(fmt.Sprintf("has a component longer than %d bytes", MaxComponentBytes))
		}
	}
	for _, r := range key {
		if r < 0x20 || r == 0x7f || r == '\\' {
			return bad("has a control character or a backslash")
		}
	}
	return nil
}
