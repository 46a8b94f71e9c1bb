package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// listener is one element of Kafka's listeners: NAME://host:port.
type listener struct {
	name, address string
}

func parseListener(s string) (l listener, err error) {
	name, address, ok := strings.Cut(s, "://")
	if _, valid := splitAddress(address); !ok || name == "" || !valid || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return l, fmt.Errorf("%q is not of the form NAME://HOST:PORT", clip(s))
	}
	return listener{strings.ToUpper(name), address}, nil
}

// listeners picks from Kafka's listeners the one that firn can have: the first one for clients without TLS and SASL.
func (m *importer) listeners() {
	m.done = map[string]bool{}
	for _, name := range []string{"listeners", "advertised.listeners", "listener.security.protocol.map", "controller.listener.names", "inter.broker.listener.name"} {
		if _, ok := m.props.Get(name); ok {
			m.done[name] = true
		}
	}
	between := m.betweenBrokers()
	chosen := m.pick("listeners", Kafka, func(l listener) string {
		if l.name == between {
			return "it is for traffic between brokers"
		}
		return m.unfit(l)
	})
	m.pick("advertised.listeners", Advertise, func(l listener) string {
		switch why := m.unfit(l); {
		case why != "":
			return why
		case chosen != "" && l.name != chosen:
			return "it is not the listener that was taken"
		}
		return ""
	})
	for _, name := range []string{"listener.security.protocol.map", "inter.broker.listener.name"} {
		if m.done[name] {
			m.drop(name, "firn has one listener, for clients; it was read to tell which of listeners that is")
		}
	}
	if m.done["controller.listener.names"] {
		m.drop("controller.listener.names", "%s", noQuorum)
	}
}

// pick takes the first element of a list of listeners that is fit, tells of the others and gives the name of the one
// taken.
func (m *importer) pick(property, key string, unfit func(listener) string) (chosen string) {
	list := splitList(m.props.GetString(property, ""))
	if m.done[property] && len(list) == 0 {
		m.drop(property, "it names no listener")
	}
	for _, s := range list {
		l, err := parseListener(s)
		if err != nil {
			m.drop(property, "%s", err)
			continue
		}
		switch why := unfit(l); {
		case why != "":
			m.drop(property, "%s://%s: %s", clip(l.name), clip(l.address), why)
		case chosen != "":
			m.drop(property, "%s://%s: firn has one listener", clip(l.name), clip(l.address))
		default:
			if k, _ := Lookup(key); !k.put(new(Config), l.address) {
				m.drop(property, "%q is not possible for %s, which is %s", clip(l.address), key, k.Allowed)
				continue
			}
			chosen = l.name
			m.take(property, key, l.address, "")
		}
	}
	return chosen
}

// betweenBrokers names the listener that brokers use among themselves, if there is another one that firn can have.
func (m *importer) betweenBrokers() string {
	between := strings.ToUpper(strings.TrimSpace(m.props.GetString("inter.broker.listener.name", "")))
	for _, s := range splitList(m.props.GetString("listeners", "")) {
		if l, err := parseListener(s); err == nil && l.name != between && m.unfit(l) == "" {
			return between
		}
	}
	return ""
}

// unfit says why firn cannot have a listener; "" if it can.
func (m *importer) unfit(l listener) string {
	upper := func(property string) []string { return splitList(strings.ToUpper(m.props.GetString(property, ""))) }
	if slices.Contains(upper("controller.listener.names"), l.name) {
		return noQuorum
	}
	if _, told := m.props.Get("controller.listener.names"); l.name == "CONTROLLER" && !told {
		return "its name says that it is the controllers', and " + noQuorum
	}
	protocol := l.name
	for _, pair := range upper("listener.security.protocol.map") {
		if name, p, _ := strings.Cut(pair, ":"); name == l.name {
			protocol = p
		}
	}
	switch protocol {
	case "PLAINTEXT":
		return ""
	case "SSL", "SASL_PLAINTEXT", "SASL_SSL":
		return noSecurity
	}
	return fmt.Sprintf("nothing says what it speaks: %s is no security protocol, and listener.security.protocol.map does not translate it", clip(protocol))
}
