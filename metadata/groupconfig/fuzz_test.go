package groupconfig

import (
	"testing"

	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/configdef"
)

// I-33: whatever is asked for is refused with a sentence, or can be described.
func FuzzAlter(f *testing.F) {
	for _, d := range Defs() {
		f.Add(d.Name, "1", int8(0))
	}
	f.Fuzz(func(t *testing.T, name, value string, kind int8) {
		set, _, err := Alter(nil, []configdef.Op{{Key: name, Kind: configdef.OpKind(kind), Value: value}}, brokerconfig.Layers{})
		if err != nil {
			if err.Error() == "" {
				t.Fatal("refused without a sentence")
			}
			return
		}
		if len(Describe(set, brokerconfig.Layers{})) < len(Defs()) {
			t.Fatal("not every config is described")
		}
	})
}
