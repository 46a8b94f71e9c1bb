package brokerconfig

import (
	"testing"

	"github.com/firnlog/firn/metadata/configdef"
)

// I-33: whatever is asked for is refused with a sentence, or can be resolved and described.
func FuzzAlter(f *testing.F) {
	for _, d := range Defs() {
		value := "1"
		if d.Default != nil {
			value = *d.Default
		}
		f.Add(d.Name, value, int8(0), true)
	}
	f.Add("max.connections.per.ip.overrides", "127.0.0.1:200,localhost:", int8(1), false)
	f.Add("log.cleanup.policy", "compact,", int8(2), false)
	f.Fuzz(func(t *testing.T, name, value string, kind int8, perBroker bool) {
		if err := Validate(name, value); err != nil && err.Error() == "" {
			t.Fatal("refused without a sentence")
		}
		var l Layers
		set, _, err := Alter(nil, []Op{{Key: name, Kind: configdef.OpKind(kind), Value: value}}, perBroker, l)
		if err != nil {
			return
		}
		if perBroker {
			l.Broker = set
		} else {
			l.Cluster = set
		}
		if _, err := l.Resolve(); err != nil {
			t.Fatalf("%q=%q was accepted and cannot be resolved: %v", name, value, err)
		}
		l.Describe()
	})
}
