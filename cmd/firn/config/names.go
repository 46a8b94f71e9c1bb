package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// sections are the sections of the file in order.
func sections() (names []string) {
	for _, k := range keys {
		if !slices.Contains(names, k.Section()) {
			names = append(names, k.Section())
		}
	}
	return append(names, Settings)
}

// sectionKeys are the short names of a section's keys.
func sectionKeys(section string) (names []string) {
	for _, k := range keys {
		if k.Section() == section {
			names = append(names, k.Short())
		}
	}
	if section == Settings {
		names = append(names, "num.partitions")
	}
	return names
}

// unknownSection says what is wrong with a name that stands where only sections may, and where it belongs.
func unknownSection(name string) string {
	if k, ok := Lookup(name); ok {
		return fmt.Sprintf("%s is written in two lines: %s: and, indented below it, %s: …", name, k.Section(), k.Short())
	}
	if knownSetting(name) || homeOf[name] != "" {
		return fmt.Sprintf("%s is no section: broker configs by Kafka's names stand below %s:", name, Settings)
	}
	for _, k := range keys {
		if k.Short() == name || k.Flag == name {
			return fmt.Sprintf("%s is no section: %s stands below %s:", name, k.Short(), k.Section())
		}
	}
	return fmt.Sprintf("section %s is unknown%s; there are %s", name, didYouMean(name, sections()), either(sections()))
}

func unknownKey(section, short string) string {
	names := sectionKeys(section)
	if knownSetting(short) {
		return fmt.Sprintf("%s.%s is unknown; %s is a broker config and stands below %s:", section, short, short, Settings)
	}
	return fmt.Sprintf("%s.%s is unknown%s; %s has %s", section, short, didYouMean(short, names), section, either(names))
}

// didYouMean offers the nearest of the names, if one is near.
func didYouMean(name string, names []string) string {
	if best := nearest(name, names); best != "" {
		return " (did you mean " + best + "?)"
	}
	return ""
}

// nearest is the name that a slip of the finger could have made this one from: two characters may differ (one, of
// three), in a long one three; "" if there is none.
func nearest(name string, names []string) string {
	best, least := "", 3
	switch {
	case len(name) <= 3:
		least = 2
	case len(name) > 10:
		least = 4
	}
	name = strings.ToLower(name)
	for _, n := range names {
		if diff := len(n) - len(name); diff >= least || -diff >= least {
			continue // they differ by more in length alone
		}
		if d := levenshtein.ComputeDistance(name, strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

// either joins names for a sentence.
func either(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}
