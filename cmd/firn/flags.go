package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/firnlog/firn/cmd/firn/config"
)

// brokerFlags are the flags of a broker's configuration. Those of single keys are not fields here: kong gets them from
// the table of keys, as a struct made for the purpose, so that a key is written down once.
type brokerFlags struct {
	Config string            `help:"Configuration file (YAML); the environment and flags override it." env:"FIRN_CONFIG" placeholder:"FILE"`
	Keys   kong.Plugins      `embed:""`
	Set    map[string]string `name:"set" help:"Broker configs as key=value, by Kafka's names, such as num.partitions=3 or log.retention.ms=-1; repeat for more (or $FIRN_SETTING_NUM_PARTITIONS and the like)." short:"c" mapsep:"none" placeholder:"KEY=VALUE"`
}

// prepare must be called before kong sees the flags.
func (f *brokerFlags) prepare() {
	var fields []reflect.StructField
	for i, k := range config.Keys() {
		help := strings.TrimSuffix(k.Doc, ".")
		var notes []string
		if choices := k.Choices(); choices != nil {
			notes = append(notes, k.Allowed)
		}
		if k.Default != "" {
			notes = append(notes, "default "+k.Default)
		} else {
			notes = append(notes, "default: "+k.Unset)
		}
		notes = append(notes, "or $"+k.Env)
		help += " (" + strings.Join(notes, "; ") + ")."
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("Key%d", i), Type: reflect.TypeFor[*string](),
			Tag: reflect.StructTag(fmt.Sprintf(`name:%q help:%q placeholder:%q`, k.Flag, help, k.Placeholder)),
		})
	}
	f.Keys = kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
}

// load makes the configuration from file, environment and these flags.
func (f *brokerFlags) load() (*config.Effective, error) {
	in := config.Input{File: f.Config, Env: os.Environ(), Flags: map[string]string{}, Set: f.Set}
	given := reflect.ValueOf(f.Keys[0]).Elem()
	for i, k := range config.Keys() {
		if v := given.Field(i); !v.IsNil() {
			in.Flags[k.Flag] = v.Elem().String()
		}
	}
	return config.Load(in)
}
