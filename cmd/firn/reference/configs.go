package reference

import (
	"fmt"
	"slices"
	"strings"

	"github.com/firnlog/firn/cmd/firn/config"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/groupconfig"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// NoEffect lists the configs that are accepted and mean nothing in firn, by the reason.
func NoEffect() string {
	var b strings.Builder
	b.WriteString("<details><summary>All of them, by the reason</summary>\n\n")
	listNoEffect(&b, "Brokers", func(add func(name, why string)) {
		for _, d := range brokerconfig.Defs() {
			if !d.Internal {
				add(d.Name, d.NoEffect)
			}
		}
	})
	listNoEffect(&b, "Topics", func(add func(name, why string)) {
		for _, d := range topicconfig.Defs() {
			if !d.Internal {
				add(d.Name, d.Why)
			}
		}
	})
	listNoEffect(&b, "Groups", func(add func(name, why string)) {
		for _, d := range groupconfig.Defs() {
			add(d.Name, d.NoEffect)
		}
	})
	b.WriteString("</details>\n")
	return b.String()
}

// listNoEffect writes one line a reason, those with most names first.
func listNoEffect(b *strings.Builder, title string, each func(add func(name, why string))) {
	names := map[string][]string{}
	var reasons []string
	each(func(name, why string) {
		if why == "" {
			return
		}
		if names[why] == nil {
			reasons = append(reasons, why)
		}
		names[why] = append(names[why], "`"+name+"`")
	})
	if len(reasons) == 0 {
		return
	}
	slices.SortStableFunc(reasons, func(a, b string) int { return len(names[b]) - len(names[a]) })
	fmt.Fprintf(b, "%s:\n\n", title)
	for _, why := range reasons {
		fmt.Fprintf(b, "- %s: %s\n", why, strings.Join(names[why], ", "))
	}
	b.WriteString("\n")
}

// Configuration is the page of all configs.
func Configuration() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Every configuration of firn

Written by %s from the tables in the code; change those. The README says how the pieces go together.

`, "`"+Renew+"`")
	fileKeys(&b)
	brokerConfigs(&b)
	topicConfigs(&b)
	groupConfigs(&b)
	return b.String()
}

func fileKeys(b *strings.Builder) {
	b.WriteString(`## firn.yaml

What is said later wins: default, file, environment, flag. An empty variable counts as none. A relative path starts
at the folder of the file that it stands in, or else at the working directory.

| key | type | default | variable | flag | meaning |
|---|---|---|---|---|---|
`)
	for _, k := range config.Keys() {
		def := code(k.Default)
		if k.Default == "" {
			def = k.Unset
		}
		row(b, code(k.Name), k.Type, def, code(k.Env), code("--"+k.Flag), k.Doc+" Allowed: "+k.Allowed+".")
	}
	row(b, "`settings.`*name*", "", "", code(config.SettingEnv)+"*NAME*", "`--set `*name*`=`*value*", "A broker config by Kafka's name, from the next table. In the variable's name, dots are underscores and letters capitals.")
	b.WriteString("\n")
}

func brokerConfigs(b *strings.Builder) {
	b.WriteString(`## Broker configs

They stand below ` + "`settings:`" + ` in firn.yaml. Those that are *per-broker* can also be changed for one broker while it
runs, and those that are *cluster-wide* for one or all (` + "`kafka-configs --entity-type brokers`" + `); *read-only* ones need a
restart.

| config | type | default | Kafka's default | mode | effect | meaning |
|---|---|---|---|---|---|---|
`)
	for _, d := range brokerconfig.Defs() {
		if d.Internal {
			continue
		}
		doc := sentence(d.Doc)
		if d.Allowed != "" {
			doc += " Allowed: " + d.Allowed + "."
		}
		if others := without(d.Synonyms, d.Name); len(others) > 0 {
			doc += " Says the same as " + code(strings.Join(others, ", ")) + "."
		}
		effect := effectOf(d.NoEffect)
		if d.Flag != "" {
			effect = "follows from " + code(d.Flag)
		}
		row(b, code(d.Name), d.Type.String(), orNull(d.Default), otherDefault(d.Name, d.Default, d.KafkaDefault), d.Mode.String(), effect, doc)
	}
	b.WriteString("\n")
}

func topicConfigs(b *strings.Builder) {
	b.WriteString(`## Topic configs

Set when a topic is made (` + "`firn topic create --config`" + `) or later (` + "`kafka-configs --entity-type topics`" + `), always while the
broker runs.

| config | type | default | Kafka's default | broker config | effect | meaning |
|---|---|---|---|---|---|---|
`)
	for _, d := range topicconfig.Defs() {
		if d.Internal {
			continue
		}
		kafkas := ""
		if d.Differs() {
			kafkas = code(d.KafkaDefault)
		}
		row(b, code(d.Name), d.Type.String(), code(d.Default), kafkas, code(d.BrokerKey), effectOf(d.Why), sentence(d.Doc)+" Allowed: "+d.Allowed+".")
	}
	b.WriteString("\n")
}

func groupConfigs(b *strings.Builder) {
	b.WriteString(`## Group configs

Set with ` + "`kafka-configs --entity-type groups`" + `, always while the broker runs.

| config | type | default | broker config | effect | meaning |
|---|---|---|---|---|---|
`)
	for _, d := range groupconfig.Defs() {
		row(b, code(d.Name), d.Type.String(), code(d.Default), code(d.Broker), effectOf(d.NoEffect), sentence(d.Doc)+" Allowed: "+d.Allowed+".")
	}
}

func row(b *strings.Builder, cells ...string) {
	for i, c := range cells {
		cells[i] = strings.ReplaceAll(c, "|", "\\|")
	}
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func orNull(value *string) string {
	switch {
	case value == nil:
		return "none"
	case *value == "":
		return "empty"
	}
	return code(*value)
}

// otherDefault is Kafka's default where it is another than firn's; firn's own configs have none.
func otherDefault(name string, firns, kafkas *string) string {
	same := firns == nil && kafkas == nil || firns != nil && kafkas != nil && *firns == *kafkas
	if same || strings.HasPrefix(name, "firn.") {
		return ""
	}
	return orNull(kafkas)
}

func effectOf(none string) string {
	if none == "" {
		return "yes"
	}
	return "none: " + none
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(e string) bool { return e == s })
}

func sentence(s string) string { return strings.TrimSuffix(s, ".") + "." }
