// Package reference writes those parts of the documentation that follow from the code: the table of protocol keys, the
// configs that mean nothing here, and the list of all configs. It only makes text; `firn docs` writes it, and a test
// fails when what is in the repository is another.
package reference

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/api"
	"github.com/firnlog/firn/broker/wire"
)

// Renew is the command that brings the documentation up to date, for those who are told that it is not.
const Renew = "make docs"

// ConfigurationFile is where Configuration belongs, from the root of the repository.
const ConfigurationFile = "docs/configuration.md"

// Readme gives the README with its generated parts replaced. The error says which markers are missing.
func Readme(text string) (string, error) {
	for part, content := range map[string]func() string{"protocol": Protocol, "no effect": NoEffect} {
		begin := fmt.Sprintf("<!-- begin %s: written by %s -->\n", part, Renew)
		end := fmt.Sprintf("<!-- end %s -->", part)
		before, rest, found := strings.Cut(text, begin)
		_, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			return "", fmt.Errorf("the README lacks the lines %q and %q", strings.TrimSpace(begin), end)
		}
		text = before + begin + "\n" + content() + "\n" + end + after
	}
	return text, nil
}

// Protocol is the table of API keys and versions that firn serves.
func Protocol() string {
	ranges := api.Versions()
	slices.SortFunc(ranges, func(a, b wire.Range) int { return cmp.Compare(a.Key, b.Key) })
	var b strings.Builder
	b.WriteString("| key | API | versions |\n|---|---|---|\n")
	for _, r := range ranges {
		versions := fmt.Sprintf("%d to %d", r.Min, r.Max)
		if r.Min == r.Max {
			versions = fmt.Sprint(r.Min)
		}
		fmt.Fprintf(&b, "| %d | %s | %s |\n", r.Key, kmsg.NameForKey(r.Key), versions)
	}
	return b.String()
}
