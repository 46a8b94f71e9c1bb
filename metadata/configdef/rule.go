package configdef

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Rule says which values are allowed: a test, and what it allows in words ("at least 1", "one of a, b"). The zero Rule
// allows all.
type Rule struct {
	Allowed string
	Check   func(Value) bool
}

// Range allows numbers from lo to hi. hi is math.MaxInt64 (or MaxInt32, MaxInt16 for the smaller types) for no limit
// but the type's.
func Range(t Type, lo, hi int64) Rule {
	limit := int64(math.MaxInt64)
	switch t {
	case Int:
		limit = math.MaxInt32
	case Short:
		limit = math.MaxInt16
	}
	allowed := fmt.Sprintf("%d to %d", lo, hi)
	switch {
	case lo == math.MinInt64:
		allowed = "any number"
	case hi >= limit:
		allowed = fmt.Sprintf("at least %d", lo)
	}
	return Rule{allowed, func(v Value) bool { return v.Num >= lo && v.Num <= hi }}
}

// OneOf allows the words given.
func OneOf(words ...string) Rule {
	return Rule{"one of " + strings.Join(words, ", "), func(v Value) bool { return slices.Contains(words, v.Text) }}
}

// OneOfFold allows the words given, in upper or lower case.
func OneOfFold(words ...string) Rule {
	return Rule{"one of " + strings.Join(words, ", "), func(v Value) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, v.Text) })
	}}
}

// SubsetOf allows lists of the words given. One that is there twice counts once, as in Kafka.
func SubsetOf(words ...string) Rule {
	return Rule{"any of " + strings.Join(words, ", ") + ", separated by commas, or nothing", func(v Value) bool {
		return !slices.ContainsFunc(v.List, func(s string) bool { return !slices.Contains(words, s) })
	}}
}
