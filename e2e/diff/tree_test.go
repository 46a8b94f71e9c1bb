package diff

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A tree is a message without its type: map[string]any, []any, string, int64, float64, bool or nil.

// treeOf turns a message into a tree.
func treeOf(m any) any { return treeOfValue(reflect.ValueOf(m)) }

func treeOfValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return treeOfValue(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" {
				out[name] = treeOfValue(v.Field(i))
			}
		}
		return out
	case reflect.Array: // an id
		id := v.Interface().([16]byte)
		if id == ([16]byte{}) {
			return ""
		}
		return hex.EncodeToString(id[:])
	case reflect.Slice:
		if v.IsNil() {
			return nil
		}
		if b, ok := v.Interface().([]byte); ok {
			return string(b)
		}
		out := []any{}
		for i := range v.Len() {
			out = append(out, treeOfValue(v.Index(i)))
		}
		return out
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return v.Bool()
	case reflect.Float64:
		return v.Float()
	}
	return v.Int()
}

// show prints a tree on one line, without what is empty.
func show(t any) string {
	switch t := t.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(t)) {
			if !empty(t[k]) {
				parts = append(parts, k+":"+show(t[k]))
			}
		}
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		var parts []string
		for _, e := range t {
			parts = append(parts, show(e))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case string:
		if len(t) > 60 {
			return fmt.Sprintf("%q… (%d)", t[:50], len(t))
		}
		return fmt.Sprintf("%q", t)
	case nil:
		return "null"
	}
	return fmt.Sprint(t)
}

func empty(t any) bool {
	switch t := t.(type) {
	case []any:
		return len(t) == 0
	case nil:
		return true
	}
	return t == int64(0) || t == false || t == ""
}

// difference is one field in which two answers are not the same.
type difference struct {
	path, kafka, firn string // path begins with the call: DescribeConfigs.v4 Resources[2/~t0].ErrorCode
}

// of is the path of the element of the answer in which the difference is: that of the field, or of the element's list.
func (d difference) of() string {
	path := d.path
	if strings.HasSuffix(path, "]") {
		path = path[:strings.LastIndex(path, "[")]
	}
	return path[:max(0, strings.LastIndex(path, "."))]
}

func (d difference) String() string { return fmt.Sprintf("%s | %s | %s", d.path, d.kafka, d.firn) }

// compare lists the differences of two trees. Elements of lists are matched by what names them; their order counts for
// nothing but in lists of synonyms.
func compare(path string, kafka, firn any) []difference {
	switch k := kafka.(type) {
	case map[string]any:
		f, ok := firn.(map[string]any)
		if !ok {
			break
		}
		var out []difference
		for _, name := range slices.Sorted(maps.Keys(k)) {
			at := path + "." + name
			if strings.HasSuffix(path, " ") {
				at = path + name
			}
			out = append(out, compare(at, k[name], f[name])...)
		}
		return out
	case []any:
		if f, ok := firn.([]any); ok || firn == nil && len(k) > 0 {
			return compareLists(path, k, f)
		}
	case nil:
		if f, ok := firn.([]any); ok && len(f) > 0 {
			return compareLists(path, nil, f)
		}
	}
	if reflect.TypeOf(kafka) != reflect.TypeOf(firn) { // null is not the same as empty
		return []difference{{path, show(kafka), show(firn)}}
	}
	if kafka == firn {
		return nil
	}
	return []difference{{path, show(kafka), show(firn)}}
}

func compareLists(path string, kafka, firn []any) []difference {
	ordered := strings.HasSuffix(path, "ConfigSynonyms")
	k, f := byName(kafka, ordered), byName(firn, ordered)
	names := maps.Clone(k)
	maps.Copy(names, f)
	var out []difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := path + "[" + name + "]"
		ke, inKafka := k[name]
		fe, inFirn := f[name]
		switch {
		case !inKafka:
			out = append(out, difference{at, "absent", show(fe)})
		case !inFirn:
			out = append(out, difference{at, show(ke), "absent"})
		default:
			out = append(out, compare(at, ke, fe)...)
		}
	}
	return out
}

// identities are the fields that name an element of a list.
var identities = []string{"ResourceType", "ResourceName", "Topic", "TopicID", "Group", "Key", "CoordinatorKey", "Partition", "MemberID", "InstanceID",
	"ApiKey", "Name", "NodeID", "ProducerID"}

func byName(list []any, ordered bool) map[string]any {
	out := map[string]any{}
	for i, e := range list {
		name := nameOf(e)
		if ordered {
			name = fmt.Sprintf("%d/%s", i, name)
		}
		for n := 2; ; n++ {
			if _, taken := out[name]; !taken {
				break
			}
			name = fmt.Sprintf("%s#%d", strings.SplitN(name, "#", 2)[0], n)
		}
		out[name] = e
	}
	return out
}

func nameOf(e any) string {
	m, ok := e.(map[string]any)
	if !ok {
		return strings.Trim(show(e), `"`)
	}
	var parts []string
	for _, f := range identities {
		v, there := m[f]
		if !there || v == nil || f == "TopicID" && !empty(m["Topic"]) {
			continue
		}
		parts = append(parts, strings.Trim(show(v), `"`))
	}
	return strings.Join(parts, "/")
}

// sorted makes the order of duplicates in a list the same whatever it was.
func sorted(list []any) []any {
	slices.SortStableFunc(list, func(a, b any) int { return cmp.Compare(show(a), show(b)) })
	return list
}

// versionOf is the range of versions of one call.
type versionOf map[int16][2]int16

// common are the versions that two brokers both serve, of the calls that kmsg knows.
func common(a, b versionOf) versionOf {
	out := versionOf{}
	for key, x := range a {
		y, ok := b[key]
		req := kmsg.RequestForKey(key)
		if !ok || req == nil {
			continue
		}
		lo, hi := max(x[0], y[0]), min(x[1], y[1], req.MaxVersion())
		if lo <= hi {
			out[key] = [2]int16{lo, hi}
		}
	}
	return out
}
