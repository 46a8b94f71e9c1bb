package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// homeOf names the key that says in firn what these broker configs say in Kafka. They cannot stand in settings, or a
// file could say two things at once.
var homeOf = map[string]string{
	"node.id": BrokerID, "broker.id": BrokerID, "listeners": Kafka, "advertised.listeners": Advertise,
	"log.dirs": Data, "log.dir": Data,
}

func knownSetting(name string) bool {
	_, ok := brokerconfig.Lookup(name)
	return ok
}

// checkSetting judges one broker config.
func checkSetting(name, value string) error {
	if home := homeOf[name]; home != "" {
		return fmt.Errorf("%s is not set here; write %s instead", name, home)
	}
	d, ok := brokerconfig.Lookup(name)
	switch {
	case ok && d.Flag != "":
		return fmt.Errorf("%s follows from %s and is not set by itself", name, d.Flag)
	case ok:
		return brokerconfig.Validate(name, value)
	}
	if t, ok := topicconfig.Lookup(name); ok {
		if t.BrokerKey == "" {
			return fmt.Errorf("%s is a config of topics and has no default for all of them; give it to each topic (firn topic create --config)", name)
		}
		return fmt.Errorf("%s is a config of topics; its default for all of them is %s", name, t.BrokerKey)
	}
	return fmt.Errorf("%s is unknown%s (docs/configuration.md lists the broker configs)", clip(name), didYouMean(name, settingNames()))
}

// settingNames are the broker configs that settings can hold.
func settingNames() (names []string) {
	for _, d := range brokerconfig.Defs() {
		if d.Flag == "" && homeOf[d.Name] == "" && !d.Internal {
			names = append(names, d.Name)
		}
	}
	return names
}

// EnvOf is the variable that sets a broker config: its name in upper case with underscores for what is neither letter
// nor digit, after SettingEnv.
func EnvOf(setting string) string {
	return SettingEnv + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, setting)
}

func settingEnvs() (names []string) {
	for _, n := range settingNames() {
		names = append(names, EnvOf(n))
	}
	return names
}

// settingOfEnv finds the broker config that a variable sets, given without SettingEnv.
func settingOfEnv(rest string) (name string, ok bool) {
	names := settingNames()
	for home := range homeOf { // take says what to write instead
		names = append(names, home)
	}
	i := slices.IndexFunc(names, func(n string) bool { return EnvOf(n) == SettingEnv+rest })
	if i < 0 {
		return "", false
	}
	return names[i], true
}

// checkSettings judges the broker configs as a whole.
func (e *Effective) checkSettings() error {
	if _, err := (brokerconfig.Layers{Static: e.Config.Settings}).Resolve(); err != nil {
		return fmt.Errorf("%s: %w", Settings, err)
	}
	return nil
}
