package diff

import (
	"cmp"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

//go:embed differences.txt
var differencesFile string

// listed are the differences that are meant.
type listed struct{ entries []*entry }

// entry is a line of differences.txt.
type entry struct {
	path, kafka, firn, reason string
	stops                     bool
	beside                    *entry // counts only where the same element of the answer differs as this one lists
	matched                   atomic.Bool
}

// parseListed reads the file; see its head for the form.
func parseListed(text string) (*listed, error) {
	l := &listed{}
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, " | ")
		if len(parts) != 4 {
			return nil, fmt.Errorf("line %d: %d parts between bars, not 4", i+1, len(parts))
		}
		for j := range parts {
			parts[j] = strings.TrimSpace(parts[j])
		}
		e := &entry{path: parts[0], kafka: parts[1], firn: parts[2], reason: parts[3]}
		e.path, e.stops = strings.CutPrefix(e.path, "stop ")
		var beside bool
		if e.path, beside = strings.CutPrefix(e.path, "beside "); beside {
			if len(l.entries) == 0 {
				return nil, fmt.Errorf("line %d is beside nothing", i+1)
			}
			last := l.entries[len(l.entries)-1]
			e.beside = cmp.Or(last.beside, last)
		}
		if e.reason == "" {
			return nil, fmt.Errorf("line %d has no reason", i+1)
		}
		l.entries = append(l.entries, e)
	}
	return l, nil
}

// find returns the entry that lists a difference, which is one of those of an answer, or nil.
func (l *listed) find(d difference, all []difference) *entry {
	for _, e := range l.entries {
		if e.lists(d) && (e.beside == nil || slices.ContainsFunc(all, func(o difference) bool { return o.of() == d.of() && e.beside.lists(o) })) {
			return e
		}
	}
	return nil
}

// judge tells which of an answer's differences are not listed, and whether a listed one stops the program.
func (l *listed) judge(all []difference) (unlisted []difference, stops bool) {
	for _, d := range all {
		if e := l.find(d, all); e == nil {
			unlisted = append(unlisted, d)
		} else {
			e.matched.Store(true)
			stops = stops || e.stops
		}
	}
	return unlisted, stops
}

func (e *entry) lists(d difference) bool {
	return matches(e.path, d.path) && matches(e.kafka, d.kafka) && matches(e.firn, d.firn)
}

// matches tells whether a text has the form of a pattern, in which * stands for anything and {a,b} for either.
func matches(pattern, text string) bool {
	before, rest, ok := strings.Cut(pattern, "{")
	if !ok {
		return glob(pattern, text)
	}
	choice, after, _ := strings.Cut(rest, "}")
	for _, c := range strings.Split(choice, ",") {
		if matches(before+c+after, text) {
			return true
		}
	}
	return false
}

func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(text, first) || !strings.HasSuffix(text[len(first):], last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return true
}

// stale are the entries that nothing matched.
func (l *listed) stale() (out []string) {
	for _, e := range l.entries {
		if !e.matched.Load() {
			out = append(out, fmt.Sprintf("%s | %s | %s", e.path, e.kafka, e.firn))
		}
	}
	return out
}
