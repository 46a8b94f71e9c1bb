package configdef

import (
	"slices"
	"strings"
)

// OpKind is what an Op does, with the codes of IncrementalAlterConfigs (AlterConfigOp.OpType).
type OpKind int8

// The kinds of operation.
const (
	Set      OpKind = 0
	Delete   OpKind = 1
	Append   OpKind = 2 // to a list
	Subtract OpKind = 3 // from a list
)

// Op is one operation of IncrementalAlterConfigs.
type Op struct {
	Key   string
	Kind  OpKind
	Value string
}

// Change appends the elements of with to a list, leaving out those that are there, or takes them away.
func (k OpKind) Change(list, with string) string {
	now, other := SplitList(list), SplitList(with)
	if k == Subtract {
		now = slices.DeleteFunc(now, func(s string) bool { return slices.Contains(other, s) })
		return strings.Join(now, ",")
	}
	for _, s := range other {
		if !slices.Contains(now, s) {
			now = append(now, s)
		}
	}
	return strings.Join(now, ",")
}

// Diff tells what to set and what to delete to come from current to next. deleted is sorted.
func Diff(current, next map[string]string) (set map[string]string, deleted []string) {
	set = make(map[string]string)
	for k, v := range next {
		if old, ok := current[k]; !ok || old != v {
			set[k] = v
		}
	}
	for k := range current {
		if _, ok := next[k]; !ok {
			deleted = append(deleted, k)
		}
	}
	slices.Sort(deleted)
	return set, deleted
}
