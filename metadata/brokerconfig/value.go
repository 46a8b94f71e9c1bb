package brokerconfig

import (
	"maps"
	"slices"

	"github.com/firnlog/firn/metadata/configdef"
)

// Validate checks one config. The error names key, value and what is allowed (I-33).
func Validate(name, value string) error {
	d, ok := Lookup(name)
	if !ok {
		return unknown(name)
	}
	v, ok := d.Type.Parse(value)
	if ok && (d.check == nil || d.check(v)) {
		return nil
	}
	shown := configdef.Clip(value) // no password gets here: any will do
	allowed := d.Allowed
	if allowed == "" {
		allowed = "any " + d.Type.String()
	}
	return configdef.Invalid(name, "Invalid value %s for configuration %s: it is %s, allowed is %s", shown, name, d.Type.WithArticle(), allowed)
}

func unknown(name string) error {
	return configdef.Invalid(name, "Unknown broker config name: %s", configdef.Clip(name))
}

// Sound leaves out what cannot be used of the dynamic layers and says why: configs that are unknown or cannot be
// changed while the broker runs, and bad values. Alter lets none of them in; another version may have.
func (l Layers) Sound() (Layers, []error) {
	var errs []error
	keep := func(values map[string]string, perBroker bool) map[string]string {
		good := make(map[string]string, len(values))
		for _, n := range slices.Sorted(maps.Keys(values)) {
			err := changeable(n, perBroker)
			if err == nil {
				err = Validate(n, values[n])
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			good[n] = values[n]
		}
		return good
	}
	l.Broker, l.Cluster = keep(l.Broker, true), keep(l.Cluster, false)
	return l, errs
}

// Resolve puts the layers together. The error says what is wrong with the first config that is (I-33).
func (l Layers) Resolve() (*Values, error) {
	for _, layer := range []map[string]string{l.Static, l.Cluster, l.Broker} {
		for _, n := range slices.Sorted(maps.Keys(layer)) {
			if err := Validate(n, layer[n]); err != nil {
				return nil, err
			}
		}
	}
	v := l.read()
	if err := v.check(l); err != nil {
		return nil, err
	}
	return v, nil
}
