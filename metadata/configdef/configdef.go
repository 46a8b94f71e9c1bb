// Package configdef is what configs of every kind share: types with Kafka's codes, parsing, rules for values,
// operations, and the error that says in a sentence what is wrong. It is pure and knows no config by name; the tables
// are in topicconfig, brokerconfig and groupconfig.
package configdef

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Type is a config's type with Kafka's code for DescribeConfigs (ConfigEntry.ConfigType).
type Type int8

// The types.
const (
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8 // a Java class; firn keeps its name
	Password Type = 9
)

var typeNames = [...]string{Boolean: "boolean", String: "string", Int: "int", Short: "short", Long: "long", Double: "double", List: "list",
	Class: "class", Password: "password"}

// String names the type in lower case.
func (t Type) String() string {
	if t < Boolean || int(t) >= len(typeNames) {
		return "type " + strconv.Itoa(int(t))
	}
	return typeNames[t]
}

// WithArticle names the type as a sentence does: a list, an int.
func (t Type) WithArticle() string {
	if t == Int {
		return "an " + t.String()
	}
	return "a " + t.String()
}

// ErrInvalid is wrapped by every error about a config: Kafka's INVALID_CONFIG. The error's text is a sentence fit for
// a client.
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

// Invalid makes an Error.
func Invalid(key, format string, args ...any) error {
	return &Error{Key: key, Reason: fmt.Sprintf(format, args...)}
}

// Value is a parsed value; which field counts depends on the type. Text is always set, without surrounding space.
type Value struct {
	Text string
	Num  int64    // Int, Short, Long
	Real float64  // Double
	Flag bool     // Boolean
	List []string // List
}

// Parse reads a value as Kafka's ConfigDef.parseType does; false when it is none of that type.
func (t Type) Parse(text string) (Value, bool) {
	v := Value{Text: strings.TrimSpace(text)}
	var err error
	switch t {
	case Boolean:
		switch strings.ToLower(v.Text) {
		case "true":
			v.Flag = true
		case "false":
		default:
			return v, false
		}
	case Short:
		v.Num, err = strconv.ParseInt(v.Text, 10, 16)
	case Int:
		v.Num, err = strconv.ParseInt(v.Text, 10, 32)
	case Long:
		v.Num, err = strconv.ParseInt(v.Text, 10, 64)
	case Double:
		v.Real, err = strconv.ParseFloat(v.Text, 64)
		if math.IsNaN(v.Real) {
			return v, false
		}
	case List:
		v.List = SplitList(v.Text)
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

// Clip keeps a hostile value from filling logs and answers.
func Clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "?") + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// Canonical writes a parsed value as Kafka's ConfigDef.convertToString does.
func (t Type) Canonical(v Value) string {
	switch t {
	case Boolean:
		return strconv.FormatBool(v.Flag)
	case Int, Short, Long:
		return strconv.FormatInt(v.Num, 10)
	case Double:
		return javaDouble(v.Real)
	case List:
		return strings.Join(v.List, ",")
	}
	return v.Text
}

// javaDouble writes a number as Java's Double.toString does: always with a fraction, and with an exponent below 1e-3 and
// from 1e7 on.
func javaDouble(f float64) string {
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-3 || a >= 1e7) {
		format = 'E'
	}
	s := strconv.FormatFloat(f, format, -1, 64)
	mantissa, exponent, scientific := strings.Cut(s, "E")
	if math.IsInf(f, 0) {
		return strings.Replace(strings.TrimPrefix(s, "+"), "Inf", "Infinity", 1)
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !scientific {
		return mantissa
	}
	sign, digits := "", strings.TrimPrefix(exponent, "+")
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	return mantissa + "E" + sign + strings.TrimLeft(digits, "0")
}
