package rest

import (
	"fmt"
	"strings"

	"github.com/firnlog/firn/tier/object"
)

// Place is a bucket and the prefix of firn's keys in it.
type Place struct {
	Bucket string
	prefix string // "" or ending in a slash
}

// NewPlace checks bucket and prefix; slashes around the prefix do not matter.
func NewPlace(bucket, prefix string) (Place, error) {
	if bucket == "" {
		return Place{}, fmt.Errorf("the bucket's name is missing")
	}
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return Place{Bucket: bucket}, nil
	}
	if err := object.CheckKey(prefix); err != nil {
		return Place{}, fmt.Errorf("prefix: %w", err)
	}
	// S3 allows 1,024 bytes for prefix and key together.
	if most := 1024 - object.MaxKeyBytes - 1; len(prefix) > most {
		return Place{}, fmt.Errorf("prefix: %d bytes are more than the %d allowed", len(prefix), most)
	}
	return Place{Bucket: bucket, prefix: prefix + "/"}, nil
}

// Key gives the bucket's key of a key of the seam.
func (p Place) Key(key string) string { return p.prefix + key }

// Strip is the inverse of Key.
func (p Place) Strip(key string) (string, bool) { return strings.CutPrefix(key, p.prefix) }

// String is bucket/prefix.
func (p Place) String() string { return strings.TrimSuffix(p.Bucket+"/"+p.prefix, "/") }
