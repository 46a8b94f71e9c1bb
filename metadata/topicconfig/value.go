package topicconfig

import (
	"strconv"
	"strings"

	"github.com/firnlog/firn/metadata/configdef"
)

// ErrInvalid is wrapped by every error of this package: Kafka's INVALID_CONFIG. The error's text is a sentence
// fit for a client.
var ErrInvalid = configdef.ErrInvalid

// Error says what is wrong with a config, in a sentence.
type Error = configdef.Error

// value is a parsed config value.
type value = configdef.Value

var (
	invalid = configdef.Invalid
	clip    = configdef.Clip
)

// Validate checks one config. The error names key, value and what is allowed.
func Validate(name, text string) error {
	_, _, err := parse(name, text)
	return err
}

func parse(name, text string) (Def, value, error) {
	d, ok := Lookup(name)
	if !ok {
		return d, value{}, invalid(name, "Unknown topic config name: %s", name)
	}
	v, ok := d.Type.Parse(text)
	if !ok || d.check != nil && !d.check(v) {
		return d, value{}, invalid(name, "Invalid value %s for configuration %s: it is %s, allowed is %s", clip(text), name, d.Type.WithArticle(), d.Allowed)
	}
	return d, v, nil
}

// SplitList splits a value of type List.
func SplitList(s string) []string { return configdef.SplitList(s) }

func integer(t Type, name, def string, lo, hi int64, broker, doc string) Def {
	return ruled(Def{Name: name, Type: t, Default: def, BrokerKey: broker, Doc: doc}, configdef.Range(t, lo, hi))
}

func ruled(d Def, r configdef.Rule) Def {
	d.Allowed, d.check = r.Allowed, r.Check
	return d
}

func boolean(name, def, broker, doc string) Def {
	return Def{Name: name, Type: Boolean, Default: def, BrokerKey: broker, Allowed: "true or false", Doc: doc}
}

func oneOf(name, def, broker, doc string, allowed ...string) Def {
	return ruled(Def{Name: name, Type: String, Default: def, BrokerKey: broker, Doc: doc}, configdef.OneOf(allowed...))
}

func throttled(name string) Def {
	return noEffect("replication is not throttled.", Def{Name: name, Type: List, KafkaDefault: "",
		Allowed: "partition:broker pairs separated by commas, or *", Doc: "Replicas whose replication traffic is throttled.",
		check: func(v value) bool {
			if len(v.List) == 1 && v.List[0] == "*" {
				return true
			}
			for _, e := range v.List {
				p, b, ok := strings.Cut(e, ":")
				if _, err := strconv.ParseUint(p, 10, 31); !ok || err != nil {
					return false
				}
				if _, err := strconv.ParseUint(b, 10, 31); err != nil {
					return false
				}
			}
			return true
		}})
}

func kafka(def string, d Def) Def {
	d.KafkaDefault = def
	return d
}

func hidden(d Def) Def {
	d.Internal = true
	return d
}

func noEffect(why string, d Def) Def {
	d.NoEffect, d.Why = true, strings.TrimSuffix(why, ".")
	d.Doc += notYet + why
	return d
}
