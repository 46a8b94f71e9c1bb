package topicconfig

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrInvalid is wrapped by every error of this package: Kafka's INVALID_CONFIG. The error's text is a sentence
// fit for a client.
var ErrInvalid = errors.New("invalid config")

// Error says what is wrong with a config, in a sentence.
type Error struct {
	Key    string // "" when several are involved
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e *Error) Unwrap() error { return ErrInvalid }

func invalid(key, format string, args ...any) error {
	return &Error{Key: key, Reason: fmt.Sprintf(format, args...)}
}

// value is a parsed config value; which field counts depends on the type.
type value struct {
	num  int64
	real float64
	flag bool
	text string
	list []string
}

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
	v, ok := d.parse(text)
	if !ok || d.check != nil && !d.check(v) {
		return d, value{}, invalid(name, "Invalid value %s for configuration %s: it is a %s, allowed is %s", clip(text), name, d.Type, d.Allowed)
	}
	return d, v, nil
}

func (d Def) parse(text string) (value, bool) {
	t := strings.TrimSpace(text)
	v := value{text: t}
	var err error
	switch d.Type {
	case Boolean:
		switch strings.ToLower(t) {
		case "true":
			v.flag = true
		case "false":
		default:
			return v, false
		}
	case Int:
		v.num, err = strconv.ParseInt(t, 10, 32)
	case Long:
		v.num, err = strconv.ParseInt(t, 10, 64)
	case Double:
		v.real, err = strconv.ParseFloat(t, 64)
		if math.IsNaN(v.real) {
			return v, false
		}
	case List:
		v.list = SplitList(t)
	}
	return v, err == nil
}

// SplitList splits a value of type List as Kafka does: at commas, without surrounding space; "" is no element.
func SplitList(s string) []string {
	if strings.TrimSpace(s) == "" {
		return nil
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// clip keeps a hostile value from filling logs and answers.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "?") + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func integer(t Type, name, def string, lo, hi int64, broker, doc string) Def {
	allowed := fmt.Sprintf("%d to %d", lo, hi)
	limit := int64(math.MaxInt64)
	if t == Int {
		limit = math.MaxInt32
	}
	switch {
	case lo == math.MinInt64:
		allowed = "any number"
	case hi == limit:
		allowed = fmt.Sprintf("at least %d", lo)
	}
	return Def{Name: name, Type: t, Default: def, BrokerKey: broker, Allowed: allowed, Doc: doc,
		check: func(v value) bool { return v.num >= lo && v.num <= hi }}
}

func boolean(name, def, broker, doc string) Def {
	return Def{Name: name, Type: Boolean, Default: def, BrokerKey: broker, Allowed: "true or false", Doc: doc}
}

func oneOf(name, def, broker, doc string, allowed ...string) Def {
	return Def{Name: name, Type: String, Default: def, BrokerKey: broker, Allowed: "one of " + strings.Join(allowed, ", "), Doc: doc,
		check: func(v value) bool { return slices.Contains(allowed, v.text) }}
}

func throttled(name string) Def {
	return noEffect("replication is not throttled.", Def{Name: name, Type: List, KafkaDefault: "",
		Allowed: "partition:broker pairs separated by commas, or *", Doc: "Replicas whose replication traffic is throttled.",
		check: func(v value) bool {
			if len(v.list) == 1 && v.list[0] == "*" {
				return true
			}
			for _, e := range v.list {
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
	d.NoEffect = true
	d.Doc += notYet + why
	return d
}

func subset(list []string, allowed ...string) bool {
	for i, s := range list {
		if !slices.Contains(allowed, s) || slices.Contains(list[:i], s) {
			return false
		}
	}
	return true
}
