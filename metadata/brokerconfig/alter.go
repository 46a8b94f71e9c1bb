package brokerconfig

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/firnlog/firn/metadata/configdef"
)

// Errors of Alter that are not about a value: Kafka's INVALID_REQUEST.
var (
	ErrReadOnly  = errors.New("config cannot be changed while the broker runs")
	ErrPerBroker = errors.New("config can be changed for one broker only")
)

// changeable reports why a config cannot be set at a dynamic level (DynamicBrokerConfig.validateConfigs).
func changeable(name string, perBroker bool) error {
	d, ok := Lookup(name)
	switch {
	case !ok:
		return unknown(name)
	case d.Flag != "":
		return fmt.Errorf("%w: %s follows from %s", ErrReadOnly, name, d.Flag)
	case d.Mode == ReadOnly:
		return fmt.Errorf("%w: %s", ErrReadOnly, configdef.Clip(name))
	case strings.HasPrefix(name, "ssl.") || strings.HasPrefix(name, "sasl."):
		return fmt.Errorf("%w, except for one listener: set listener.name.<listener>.%s", ErrReadOnly, name)
	case d.Mode == PerBroker && !perBroker:
		return fmt.Errorf("%w, not for all: %s", ErrPerBroker, configdef.Clip(name))
	}
	return nil
}

// Alter works ops into the dynamic configs of one broker (perBroker) or of all, by Kafka's rules, and tells what is to
// be set and deleted. l are the layers as they are, stored included. ErrReadOnly and ErrPerBroker are INVALID_REQUEST,
// configdef.ErrInvalid (topicconfig.ErrInvalid) is INVALID_CONFIG; each is a sentence.
func Alter(stored map[string]string, ops []Op, perBroker bool, l Layers) (set map[string]string, deleted []string, err error) {
	next := maps.Clone(stored)
	if next == nil {
		next = map[string]string{}
	}
	seen := map[string]bool{}
	for _, op := range ops {
		if seen[op.Key] {
			return nil, nil, configdef.Invalid(op.Key, "%s is named twice", configdef.Clip(op.Key))
		}
		seen[op.Key] = true
		if err := alterOne(next, op, perBroker); err != nil {
			return nil, nil, err
		}
	}
	if perBroker {
		l.Broker = next
	} else {
		l.Cluster = next
	}
	// What others stored may be wrong by this version's rules. It must not keep what is right from being set.
	sound, _ := l.Sound()
	if _, err := sound.Resolve(); err != nil {
		return nil, nil, err
	}
	set, deleted = configdef.Diff(stored, next)
	return set, deleted, nil
}

// alterOne works one operation into next.
func alterOne(next map[string]string, op Op, perBroker bool) error {
	if op.Kind == configdef.Delete {
		// Whatever is there may go, and what is not is gone already; but a name that means nothing is a slip.
		if _, there := next[op.Key]; !there {
			if _, known := Lookup(op.Key); !known {
				return unknown(op.Key)
			}
		}
		delete(next, op.Key)
		return nil
	}
	if err := changeable(op.Key, perBroker); err != nil {
		return err
	}
	d, _ := Lookup(op.Key)
	value := op.Value
	switch op.Kind {
	case configdef.Set:
	case configdef.Append, configdef.Subtract:
		if d.Type != List {
			return configdef.Invalid(op.Key, "%s is a %s: only a list can be appended to or subtracted from", op.Key, d.Type)
		}
		now, ok := next[op.Key]
		if !ok && d.Default != nil {
			now = *d.Default
		}
		value = op.Kind.Change(now, op.Value)
	default:
		return configdef.Invalid(op.Key, "unknown operation %d on %s", op.Kind, op.Key)
	}
	if err := Validate(op.Key, value); err != nil {
		return err
	}
	next[op.Key] = value
	return nil
}
